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

NOUNS = (
    ("city", "cities"), ("town", "towns"), ("river", "rivers"), ("lake", "lakes"),
    ("mountain", "mountains"), ("airport", "airports"), ("harbour", "harbours"),
    ("bridge", "bridges"), ("tower", "towers"), ("castle", "castles"), ("temple", "temples"),
    ("museum", "museums"), ("university", "universities"), ("school", "schools"),
    ("company", "companies"), ("bank", "banks"), ("newspaper", "newspapers"), ("film", "films"),
    ("album", "albums"), ("song", "songs"), ("novel", "novels"), ("poem", "poems"),
    ("painting", "paintings"), ("opera", "operas"), ("language", "languages"),
    ("element", "elements"), ("mineral", "minerals"), ("galaxy", "galaxies"),
    ("star cluster", "star clusters"), ("nebula", "nebulae"), ("planet", "planets"),
    ("comet", "comets"), ("festival", "festivals"), ("holiday", "holidays"), ("team", "teams"),
    ("player", "players"), ("stadium", "stadiums"), ("race", "races"), ("ship", "ships"),
    ("locomotive", "locomotives"), ("aircraft", "aircraft"), ("engine", "engines"),
    ("plant", "plants"), ("bird", "birds"), ("fish", "fish"), ("cheese", "cheeses"),
    ("wine", "wines"), ("dish", "dishes"), ("park", "parks"), ("island", "islands"),
    ("country", "countries"), ("state", "states"), ("county", "counties"), ("canal", "canals"),
    ("file format", "file formats"), ("programming language", "programming languages"),
    ("protocol", "protocols"), ("observatory", "observatories"), ("volcano", "volcanoes"),
    ("glacier", "glaciers"), ("monastery", "monasteries"), ("senator", "senators"),
)  # fmt: skip

PLACE_NOUNS = (
    ("country", "countries"), ("region", "regions"), ("province", "provinces"),
    ("continent", "continents"), ("state", "states"), ("constellation", "constellations"),
    ("district", "districts"), ("kingdom", "kingdoms"), ("league", "leagues"),
    ("family", "families"), ("period", "periods"), ("group", "groups"), ("series", "series"),
    ("era", "eras"), ("archipelago", "archipelagos"), ("valley", "valleys"),
)  # fmt: skip

NUMBER_COLUMNS = tuple(
    "Population,Area,Height,Length,Depth,Elevation,Density,Mass,Magnitude,Year,Founded,Opened,"
    "Discovery year,Capacity,Attendance,Speed,Latitude,Longitude,Melting point,Boiling point,"
    "Number of members,Neighbours,Counties,Atomic number,Price,Revenue,Rank,Score,Distance,"
    "Diameter,Age,Temperature,Weight,Width,Volume,Calling code,Pages,Episodes,Wins,Version,"
    "Statehood year,Apparent size,Electronegativity,Speakers,Stations,Floors".split(",")
)

COLUMN_NOUNS = tuple(
    "Capital,Currency,Time zone,Type,Symbol,Country,City,Continent,Founder,Owner,Director,Author,"
    "Architect,Discoverer,Language,Region,Constellation,Common name,Domain,Code,IATA code,"
    "ICAO code,Alias,Extension,Media type,Home page,Weekday,Month,Date,Holiday,Demonym,Subregion,"
    "Abbreviation,Block,Group,Class,Colour,Material,Style,Genre,Label,Publisher,President,Mayor,"
    "Coach,Nickname,Motto,Anthem,Patron,Status,Operator,Builder,Designer,Sponsor,Main country,"
    "Top-level domain,Currency code,Location,Series,Hubble type,Messier number".split(",")
)

FACET_NAMES = tuple(
    "Demographics,Geography,Economy,History,Climate,Culture,Physical properties,Discovery,Isotopes,"
    "Observation,Records,Transport,Architecture,Statistics,Government,Administration,Usage,"
    "Appearance,Structure,Reception,Production,Facilities,Education,Management,Etymology,"
    "Technical data,Position,Support,Codes,Symbols".split(",")
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
    "Next above it in the list comes {word} with {number}.",
    "Next below it comes {word}.",
    "By rank it is number {small} of all.",
    "Other spellings are {word}, {word} and {word}.",
)
