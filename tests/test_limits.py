import pytest

from semivl_cli.errors import InputError
from semivl_cli.limits import MEGAPIXELS, check_pixels


def test_a_size_is_refused_with_the_variable_that_raises_the_limit(monkeypatch):
    with pytest.raises(InputError, match=r"big.png: 50000 x 40000 pixels .* 500 megapixels.*SEMIVL_MAX_MEGAPIXELS"):
        check_pixels(40000, 50000, "big.png")
    with pytest.raises(InputError, match="500 megapixels"):
        check_pixels(10**400, 3, "big.png")
    monkeypatch.setenv("SEMIVL_MAX_MEGAPIXELS", "2000")
    check_pixels(40000, 50000, "big.png")


@pytest.mark.parametrize("text", ["-1", "0", "many", "1e3", "9" * 30, "²"])
def test_a_variable_that_is_no_number_is_one_line(monkeypatch, text):
    monkeypatch.setenv("SEMIVL_MAX_MEGAPIXELS", text)
    with pytest.raises(InputError, match="SEMIVL_MAX_MEGAPIXELS"):
        MEGAPIXELS.check(1, "x")
