from semivl_dots import Dots

from semivl_cli.data.testing import check_dataset


def test_the_contract_is_kept(tmp_path):
    Dots().prepare(tmp_path, (), (), False, print)
    check_dataset(Dots(), tmp_path)
