"""Which captions are English: titles of two words as well as sentences."""

from __future__ import annotations

import pytest

from mining.text.tagging import english_words

FOREIGN = [
    "Rote Handtasche",
    "Rote Handtasche aus Leder",
    "Hund spielt im Garten",
    "Robe rouge longue",
    "Canapé convertible gris",
    "Vestido de novia blanco",
    "Niña con perro",
    "Borsa in pelle marrone",
    "Bolo de chocolate caseiro",
    "Zwarte leren laarzen",
    "Svart klänning",
    "Sukienka czerwona",
    "Kadın deri çanta",
    "Baju wanita lengan panjang",
    "Rochie roșie de seară",
    "Dřevěný stůl",
    "Túi xách nữ màu đỏ",
    "Красная сумка",
    "赤いバッグ Nike Air",
    "حقيبة يد حمراء",
    "빨간 가방",
    "THE BESTE TASCHE FÜR DEINE KINDER",
    "Schlüsselanhänger Geldbörse",
]
ENGLISH = [
    "Red handbag",
    "red leather bag",
    "Crème brûlée with fresh raspberries",
    "Jalapeño Poppers",
    "São Paulo skyline at night",
    "Portrait of Leonardo da Vinci",
    "A plaza in the old town of Düsseldorf, Germany",
    "Café table and chairs",
    "Rote learning is bad",
    "LA and NY skyline",
    "two dogs",
    "a doog iss runing on teh beech",
    "Nike Air Max 90",
    "Obama",
    "Kofod-Larsen teak sideboard",
    "2-Pack Water Bottles w/ Bamboo Lid",
    "Bibimbap and kimchi",
    "Ms. Patel's saree",
]


@pytest.mark.parametrize("caption", FOREIGN)
def test_captions_of_other_languages_are_told(caption: str) -> None:
    assert english_words(caption) == []


@pytest.mark.parametrize("caption", ENGLISH)
def test_english_captions_are_read_with_loan_words_and_names_of_places(caption: str) -> None:
    assert english_words(caption)
