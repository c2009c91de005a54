"""Scales, units and currencies that follow or precede a number."""

SCALES = {
    "thousand": 3,
    "lakh": 5,
    "lakhs": 5,
    "million": 6,
    "millions": 6,
    "mn": 6,
    "mln": 6,
    "crore": 7,
    "crores": 7,
    "billion": 9,
    "billions": 9,
    "bn": 9,
    "trillion": 12,
    "trillions": 12,
    "tn": 12,
    "mio": 6,
    "millionen": 6,
    "mrd": 9,
    "milliarden": 9,
    "milliard": 9,
    "milliards": 9,
    "тыс": 3,
    "млн": 6,
    "млрд": 9,
}
"""Powers of ten by their names in European languages."""
MONEY_SCALES = {"k": 3, "m": 6, "mm": 6, "b": 9, "t": 12}
"""Letters that are scales only behind an amount of money; elsewhere `m` is a meter."""
CJK_SCALES = {
    "千": 3,
    "万": 4,
    "萬": 4,
    "만": 4,
    "十万": 5,
    "百万": 6,
    "百萬": 6,
    "千万": 7,
    "千萬": 7,
    "亿": 8,
    "億": 8,
    "억": 8,
    "十亿": 9,
    "百亿": 10,
    "千亿": 11,
    "万亿": 12,
    "萬億": 12,
}
ALL_SCALES = SCALES | CJK_SCALES

_SYNONYMS = """
% percent percentage pct percents percentages
‰ permille
km kilometer kilometers kilometre kilometres kms 公里 千米
m meter meters metre metres 米
cm centimeter centimeters centimetre centimetres 厘米
mm millimeter millimeters millimetre millimetres 毫米
nm nanometer nanometers nanometre nanometres 纳米
km2 sqkm squarekilometers squarekilometres squarekilometer squarekilometre 平方公里 平方千米
m2 sqm squaremeters squaremetres 平方米
km3 cubickilometers cubickilometres 立方千米
m3 cubicmeters cubicmetres 立方米
ha hectare hectares 公顷
kg kilogram kilograms kilogramme kilogrammes 公斤 千克
g gram grams 克
mg milligram milligrams 毫克
t tonne tonnes metrictons 吨
lb lbs pounds
oz ounces
mi mile miles 英里
ft foot feet 英尺
in inch inches 英寸
sqmi squaremiles 平方英里
acres acre 英亩
s sec second seconds 秒
min mins minute minutes 分钟
h hr hrs hour hours 小时
days day 天
years year yr yrs
months month 个月
岁 岁
年 年
°c degreescelsius 摄氏度
°f degreesfahrenheit 华氏度
° deg degrees 度
pts points pt 分
people inhabitants residents persons 人 名 位 人次
usd dollars dollar usdollars us$ $ 美元
eur euros euro € 欧元
gbp poundssterling £ 英镑
cny rmb yuan renminbi 元 人民币 元人民币 人民币元
jpy yen 日元 円 日圆
hkd 港元 港币
krw won ₩ 원 韩元
inr rupees rupee ₹ 卢比
个 座 家 所 件 辆 台 部 户 只 棵 株 艘 架
"""
_OTHERS = """
k pa hpa kpa gpa ev kj j w kw mw gw hz khz mhz ghz v ly pc kpc mpc au mag km/h m/s mph l ml goals bn
u g/cm3 kg/m3 kg/l j/mol kj/mol arcmin arcsec people/km2 /km2 ¥ 次 集 期 届 层
"""
_NAMES = {name: line.split()[0] for line in _SYNONYMS.strip().splitlines() for name in line.split()}
UNITS = {**{name: name for name in _OTHERS.split()}, **_NAMES}
"""The canonical name of each known unit; names are without blanks and in small letters."""
ORDINALS = frozenset(("st", "nd", "rd", "th"))

CURRENCY_PATTERN = r"(?:(?:US|HK|NT|AU?|CA?|NZ|S|R)?\$|[€£¥₹₩]|USD|EUR|GBP|CNY|RMB|JPY|HKD|INR|KRW)"
CERTAIN_UNITS = frozenset(("", "usd", "eur", "gbp", "cny", "jpy", "hkd", "krw", "inr"))
"""No unit, and currencies: numbers of one of them that differ are surely different values."""
_CURRENCIES = {"$": "usd", "us$": "usd", "€": "eur", "£": "gbp", "₹": "inr", "₩": "krw"}


def currency(sign: str) -> str:
    """The unit that a sign or code in front of an amount means; empty for none."""
    name = sign.casefold()
    return _CURRENCIES.get(name) or UNITS.get(name, name)


def scale_and_unit(text: str, *, money: bool) -> tuple[int, str] | None:
    """The power of ten and the unit (as written) behind a number; None if it is neither."""
    words = text.casefold().replace(".", "").split()
    power = 0
    if words and words[0] in SCALES:
        power = SCALES[words.pop(0)]
    elif words and money and words[0] in MONEY_SCALES:
        power = MONEY_SCALES[words.pop(0)]
    elif words:
        power, words[0] = _cjk_scale(words[0])
    name = "".join(words)
    if name in ORDINALS:
        return power, ""
    return (power, name) if not name or name in UNITS else None


def _cjk_scale(word: str) -> tuple[int, str]:
    """A scale in Chinese or Korean, which is written together with the unit: `亿元`."""
    for length in (2, 1):
        if word[:length] in CJK_SCALES:
            return CJK_SCALES[word[:length]], word[length:]
    return 0, word
