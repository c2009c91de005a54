import pytest

from wideseek_core.language import detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("List the moons of Neptune with their radius.", "en"),
        ("Who directed 霸王别姬?", "en"),
        ("Who directed the film 霸王别姬 (Farewell My Concubine), and in which year?", "en"),
        ("List the directors of 霸王别姬, 活着 and 红高粱家族", "en"),
        ("Which stations are on the 山手線 in Tokyo?", "en"),
        ("Wie heißen die Monde des Neptun?", "en"),
        ("Какие спутники у Нептуна?", "en"),
        ("", "en"),
        ("42", "en"),
        ("海王星有哪些卫星？请列出半径。", "zh"),
        ("海王星", "zh"),
        ("谁导演了《Farewell My Concubine》？", "zh"),
        ("列出 Tesla Model S、Model 3、Model X 的上市年份", "zh"),
        ("列出 iphone 和 ipad 的发布日期", "zh"),
        ("请列出 University of California, Los Angeles 和 Stanford University 的历任校长", "zh"),
        ("海王星の衛星を一覧にしてください。", "ja"),
        ("해왕성의 위성은 무엇입니까?", "ko"),
        ("Translate 海王星有哪些卫星 into English", "en"),
        ("List the directors of 我不是药神, 让子弹飞 and 我的父亲母亲", "en"),
        ("Which album is 我的歌声里 from?", "en"),
        ("霸王别姬 director", "en"),
        ("Who sang 강남스타일?", "en"),
        ("12345 ???", "en"),
        ("請列出臺灣歷任總統及其任期", "zh"),
        ("列出優の良品在香港的所有分店地址", "zh"),
        ("谁导演了 Gone with the Wind", "zh"),
        ("The Lord of the Rings 的导演是谁", "zh"),
        ("用 English 列出 planets 的 name", "zh"),
        ("iPhone发布", "zh"),
        ("日本の歴代内閣総理大臣一覧", "ja"),
        ("Nintendo Switchのゲーム一覧", "ja"),
        ("Samsung이 만든 모든 Galaxy 모델을 나열하세요", "ko"),
    ],
)
def test_the_language_is_that_of_the_sentence_not_of_the_names_in_it(
    text: str, language: str
) -> None:
    assert detect_language(text) == language
