"""Files of labels: in the order of their numbers, or refused in one line."""

import pytest

from raysign.errors import ConfigError
from raysign.learn import labels


@pytest.mark.parametrize(("name", "text"), [
    ("a.txt", "a\nb\n\nc\n"),
    ("a.json", '["a", "b", "c"]'),
    ("a.json", '{"0": "a", "2": "c", "1": "b"}'),
    ("a.json", '{"c": 3, "a": 1, "b": 2}'),
    ("a.json", '{"glosses": ["a", "b", "c"], "categories": ["k", "l"]}'),
    ("a.csv", "gloss,label\nb,1\na,0\nc,2\n"),
    ("a.csv", 'gloss , label\n b, 1\na , 0\n"c" ,2\n'),
    ("a.csv", "gloss_id,label,cat_id,category\n0,a,0,k\n1,b,1,l\n2,c,1,l\n"),
])  # fmt: skip
def test_labels_come_in_the_order_of_their_numbers(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    found = labels.of_file(tmp_path / name)
    assert found.glosses == ["a", "b", "c"]
    assert found.categories == (["k", "l"] if "k" in text else [])


@pytest.mark.parametrize(("name", "text"), [
    ("a.txt", "a\na\n"), ("a.json", "{"), ("a.json", "3"), ("a.json", '{"a": 0, "b": 2}'), ("a.json", '{"a": "x"}'),
    ("a.json", '[{"id": 0, "name": "a"}]'), ("a.json", '["a", null]'), ("a.csv", "name,id\na,0,x\n"),
    ("a.csv", ""), ("a.csv", "gloss,number\na,1\n"), ("a.csv", "gloss,label\na,x\n"),
])  # fmt: skip
def test_labels_that_tell_no_order_are_refused(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        labels.of_file(tmp_path / name)


@pytest.mark.parametrize("text", ["gloss,label\na,@\n", '{"a": @}', '{"@": "a"}'])
@pytest.mark.parametrize("digits", [10_000, 1_000_000])
def test_numbers_that_never_end_are_refused_in_a_line(text, digits, tmp_path):
    path = tmp_path / ("a.json" if "{" in text else "a.csv")
    path.write_text(text.replace("@", "9" * digits))
    with pytest.raises(ConfigError, match=path.name) as error:
        labels.of_file(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250 + len(str(path))


def test_numbers_of_a_checkpoint_that_never_end_are_refused():
    for told in ({"a": 10**5000}, {-(10**5000): "a"}, [10**5000]):
        with pytest.raises(ConfigError, match="place: found "):
            labels.in_order(told, "place")


@pytest.mark.parametrize(("name", "text"), [
    ("a.json", '{"3": 0, "1": 1, "2": 2}'), ("a.csv", "gloss,label\n3,0\n1,1\n2,2\n"), ("a.txt", "3\n1\n2\n"),
    ("a.csv", "gloss_id,label,cat_id,category\n1,1,0,k\n0,3,0,k\n2,2,0,k\n"),
])  # fmt: skip
def test_names_that_are_digits_stay_the_names(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert labels.of_file(tmp_path / name).glosses == ["3", "1", "2"]
