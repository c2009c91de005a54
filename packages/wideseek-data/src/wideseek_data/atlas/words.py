"""The vocabulary of invented worlds."""

SYLLABLES = tuple(
    "ka ro mi ten dor el va shi lu gan tor pe ri sa nor vel ta mun ber lo qui zan fer do hal ny "
    "cas tri or bel wen dra sol im ja ko lin mar nes ol pra ru ste tha ul vin war xe yor zu bra "
    "cho da eri fa gre hu is ju kle lan mo nu os pi que ran si tu un vo wi ya ze al be ca den ell "
    "fri ger hin il jor kan len mir nov ost pol ros sund tal und ver wick york".split()
)

ONSETS = tuple(
    "b br bl c ch cl cr d dr dh f fl fr g gl gr gh h hu j k kh kl kr l ll m mc n nd ng ny p ph pl "
    "pr qu r rh s sc sch sh sk sl sm sn sp st str sw t th tr ts tz u v w wh x xi y z zh".split()
)
NUCLEI = tuple(
    "a a a e e e i i o o u u y ae ai ao au ay ea ee ei eo ey ia ie io oa oe oi oo ou oy ua ue ui "
    "é á í ó ü ö ä ç ã ñ ø å".split()
)
CODAS = (
    *(["", "", "", ""]),
    *"b ch ck d f g h k l ll ld lm lt m mb n nd ng nk ns nt p r rd rg rk rn rs rt s sh sk".split(),
    *"ss st t th tt v x z".split(),
)

FAR_LETTERS = tuple(
    letter
    for first, last in ((0xE0, 0x17F), (0x1E01, 0x1EFF), (0x3B1, 0x3C9), (0x430, 0x44F))
    for letter in map(chr, range(first, last + 1))
    if letter.islower() and len(letter.upper()) == 1
)
"""Latin letters with marks, Greek, Cyrillic: a policy copies them as bytes, or not at all."""

QUOTES = tuple("'‘’ʻ")
"""What some names begin with."""

QUALIFIERS = tuple(
    "Great Little Old New North South East West Upper Lower Royal Grand Red Black White Blue Green "
    "Mount Lake Port Fort San Saint El La Los Al Ben Bad Cape River Royal Central National First "
    "Holy Long High Big Small Inner Outer".split()
)

SUFFIXES = (
    "International Airport", "Airport", "Station", "Island", "Islands", "Bridge", "City", "Day",
    "Language", "Festival", "Cluster", "Nebula", "Galaxy", "Valley", "Hills", "Park", "County",
    "Regional Airport", "Tower", "School",
)  # fmt: skip

ENGLISH = tuple(
    "abbreviation abundance administration admiral age aircraft airport album alias alphabet "
    "anthem apparent appearance apple archipelago architect architecture area ascension atomic "
    "attendance author bank barley basin battle bear bird block boiling border bridge build "
    "builder cable calling camel canal capacity cape capital captain castle cattle cave census "
    "cheese cherry chess church city class cliff climate cloud cluster coach coast cod code codes "
    "coffee colour comet common company compound constellation continent copper council counties "
    "country county crater crow culture cup currency cycling dance data date declination deer "
    "delta demographics demonym density depth desert designer diameter director discoverer "
    "discovery dish distance district domain drought drum duck dune eagle earthquake eclipse "
    "economy education electronegativity element elephant elevation engine episodes era eruption "
    "etymology extension facilities falcon family ferry festival fig file film fish fjord fleet "
    "flood floors flute forest format fort founded founder fox freedom galaxy garden gas gate "
    "gear general genre geography glacier goat gold goose government grammar grape group gulf "
    "half halo harbour hardware harvest height history holiday home horse hubble inhabitant iron "
    "island isotope isotopes king kingdom label labour lagoon lake language latitude lattice lead "
    "league length level lexer library life lion location locomotive logic longitude magnitude "
    "main maize management marathon market markup mass match material mayor meadow medal media "
    "melting members messier metal meteor mineral monastery month moon motor motto mountain "
    "museum name nebula neighbours neutron newspaper nickname noble nova novel number observation "
    "observatory olive opened opera operator orbit owl owner page pages painter painting palace "
    "park patron peace pear peninsula period physical planet plant plateau player plum poem point "
    "population position potato president price production programming properties protocol proton "
    "province publisher pulsar pump quasar queen query rabbit race radius railway rain rank "
    "reception records reef referee region republic revenue rice ridge ring river road rowing "
    "saint salmon salt school score script scripting sculptor season senator series sheep shell "
    "ship siege signal silver size sky snow soldier song speaker speakers speed spin sponsor "
    "spring stadium star state statehood stations statistics status storm strait structure style "
    "subregion sugar summer summit sun support swamp swan symbol symbols tea team technical "
    "temperature template temple tennis territory test theatre tiger time tin tone top tower town "
    "tram transport treaty trophy trout tunnel type university usage valley valve velocity "
    "version violin volcano volume wall war weekday weight wheat wheel width wine wing wins "
    "winter wolf writing year zone".split()
)
"""What nouns, columns and pages are composed of, beside words that no language has."""

ADJECTIVES = tuple(
    "major minor national regional international chemical public official ancient modern northern "
    "southern eastern western central upper lower inner outer deep shallow long-lived short-lived "
    "natural artificial stable radioactive royal civil military holy spoken written hidden open "
    "bright dark light heavy fast slow rare common early late wild urban rural coastal".split()
)

LINKS = tuple(
    "among;from;within;near;spoken mainly in;discovered in;classed as;based in;found in;made in;"
    "belonging to;known since;in the region of;in the time zone;along;under;around;native to;"
    "supported since;held in;held by;built in;ruled by;at;on".split(";")
)

FILLERS = (
    "It is often mentioned together with {word}.",
    "A society named {word} keeps its archive.",
    "Visitors number about {number} each year.",
    "An old map calls it {word}.",
    "The first description was printed in {number} copies.",
    "It should not be confused with {word}.",
    "Some sources prefer the spelling {word}.",
    "A survey with {number} participants took place there.",
    "Its anniversary is marked by the {word} club.",
    "About {number} photographs of it are known.",
    "Other names: {word}.",
    "The local word for it is {word}.",
    "Among the others of its kind it is number {small} by size.",
    "Next above it by {column} comes {word} with {value}.",
    "Next below it by {column} comes {word} with {value}.",
    "Among the others it is number {small} by {column}.",
    "The {column} of {word} is {value}.",
    "Next below it comes {word}.",
    "By rank it is number {small} of all.",
    "Other spellings are {word}, {word} and {word}.",
)

PREPOSITIONS = tuple("in by with as at to for under on of from".split())

VERBS = (
    "is", "is", "reads", "stands at", "amounts to", "comes to", "is put at", "measures", "reaches",
    "lists", "was", "is known as", "is called", "number",
)  # fmt: skip
"""What stands between a column and its value."""
