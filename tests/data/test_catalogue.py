import contextlib
import dataclasses
import hashlib
import http.server
import io
import shutil
import socket
import tarfile
import threading

import numpy as np
import pytest

from mixnam.data import catalogue, publishers
from mixnam.data.download import fetch
from mixnam.data.splits import FOLDS, split_rows
from mixnam.data.table import DataError, DataMissing, Table

HOUSING = "0ddcd71747ec0d39cc20d106ca0b47b8b38b589d7bf25ca682663eccbf351c74"


@pytest.fixture(scope="session")
def raw_housing():
    path = catalogue.directory() / "cal_housing.data"
    if not path.exists():
        pytest.skip(f"{path.absolute()} is not there; set MIXNAM_DATA to a directory that holds it")
    return path.read_bytes()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing in here may leave this machine, nor go through a proxy, nor be remembered."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", f"http://127.0.0.1:{free_port()}/cal_housing.tgz")
    monkeypatch.setattr(publishers, "_INCOME_URL", f"http://127.0.0.1:{free_port()}/adult.data")
    catalogue._load.cache_clear()
    catalogue._checksum.cache_clear()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def archive(content, member="CaliforniaHousing/cal_housing.data"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as bundle:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        bundle.addfile(info, io.BytesIO(content))
    return out.getvalue()


# a stand-in for the table where the real file is not needed: random numbers of its shape
@pytest.fixture(scope="session")
def other_table():
    values = np.random.default_rng(0).uniform(1, 100, (300, 9))
    return "\n".join(",".join(f"{v:.4f}" for v in row) for row in values).encode() + b"\n"


@pytest.fixture(params=["raw", "archive"])
def housing(request, raw_housing, tmp_path):
    """The real table, from either of the forms in which it may lie in the data directory."""
    if request.param == "raw":
        (tmp_path / "cal_housing.data").write_bytes(raw_housing)
    else:
        (tmp_path / "cal_housing.tgz").write_bytes(archive(raw_housing))
    return catalogue.load("housing", tmp_path)


def test_housing_arrays_are_the_same_from_file_and_archive(housing):
    assert housing.x.shape == (20640, 8)
    assert housing.y.shape == (20640,)
    assert housing.x.dtype == housing.y.dtype == np.float64
    assert housing.features[0] == "MedInc"
    assert housing.features[-2:] == ("Latitude", "Longitude")
    # as scikit-learn prints them
    first = [8.3252, 41.0, 6.98412698, 1.02380952, 322.0, 2.55555556, 37.88, -122.23]
    assert housing.x[0] == pytest.approx(first, rel=1e-8)
    assert housing.y[0] == 4.526
    assert housing.y.mean() == pytest.approx(2.068558, abs=5e-7)
    assert housing.checksum == HOUSING


def test_housing_is_found_in_the_directory_of_the_environment(raw_housing, tmp_path, monkeypatch):
    (tmp_path / "cal_housing.data").write_bytes(raw_housing)
    monkeypatch.setenv("MIXNAM_DATA", str(tmp_path))
    assert catalogue.directory() == tmp_path
    assert catalogue.load("housing", download=False).checksum == HOUSING


def test_the_data_directory_defaults_to_data(monkeypatch):
    monkeypatch.delenv("MIXNAM_DATA", raising=False)
    assert str(catalogue.directory()) == "data"
    monkeypatch.setenv("MIXNAM_DATA", "")
    assert str(catalogue.directory()) == "data"


def test_other_content_is_refused_with_what_was_expected_and_found(other_table, tmp_path):
    (tmp_path / "cal_housing.data").write_bytes(other_table)
    with pytest.raises(DataError) as caught:
        catalogue.load("housing", tmp_path)
    message = str(caught.value)
    assert f"expected {HOUSING}" in message
    assert "300 rows x 8 features with SHA-256" in message
    assert "cal_housing.data" in message
    assert str(tmp_path) in message
    assert "replace or remove the file" in message


def test_one_changed_digit_is_noticed(raw_housing, tmp_path):
    (tmp_path / "cal_housing.data").write_bytes(raw_housing.replace(b"8.325200", b"8.325300", 1))
    with pytest.raises(DataError, match=f"expected {HOUSING}"):
        catalogue.load("housing", tmp_path)


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda table: table[: len(table) // 2 - 3], id="cut within a line"),
        pytest.param(lambda table: table[: table.index(b"\n", 1000) + 1], id="cut at a line"),
        pytest.param(lambda table: b"", id="empty"),
        pytest.param(lambda table: b"<!DOCTYPE html><p>not found, sorry", id="a page of the network's"),
        pytest.param(lambda table: bytes(range(256)) * 9, id="binary"),
        pytest.param(lambda table: b"1,2,3\n4,5,6\n", id="three columns"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_remedy(damage, other_table, tmp_path):
    path = tmp_path / "cal_housing.data"
    path.write_bytes(damage(other_table))
    with pytest.raises(DataError, match="remove") as caught:
        catalogue.load("housing", tmp_path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="half"),
        pytest.param(lambda content: content[:5], id="five bytes"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:-8] + bytes(8), id="wrong check sum"),
        pytest.param(lambda content: b"<!DOCTYPE html><p>not found, sorry", id="a page of the network's"),
    ],
)
def test_a_damaged_archive_is_refused_by_name_and_remedy(damage, other_table, tmp_path):
    path = tmp_path / "cal_housing.tgz"
    path.write_bytes(damage(archive(other_table)))
    with pytest.raises(DataError, match="remove") as caught:
        catalogue.load("housing", tmp_path)
    assert path.name in str(caught.value)


# what decompression raises depends on where the damage lies: zlib.error, BadGzipFile, or wrong numbers
def test_an_archive_overwritten_anywhere_is_refused(other_table, tmp_path):
    path, content = tmp_path / "cal_housing.tgz", archive(other_table)
    for start in range(12, len(content) - 40, 97):
        path.write_bytes(content[:start] + b"\xff" * 40 + content[start + 40 :])
        with pytest.raises(DataError, match="remove"):
            catalogue.load("housing", tmp_path)


def test_an_archive_without_the_table_is_refused(other_table, tmp_path):
    (tmp_path / "cal_housing.tgz").write_bytes(archive(other_table, member="elsewhere.data"))
    with pytest.raises(DataError, match=r"CaliforniaHousing/cal_housing\.data"):
        catalogue.load("housing", tmp_path)


@pytest.mark.parametrize("name", ["cal_housing.data", "cal_housing.tgz"])
def test_a_file_that_cannot_be_opened_is_reported_by_name(name, tmp_path):
    (tmp_path / name).mkdir()  # stands for a file without read permission, which root reads all the same
    with pytest.raises(DataError, match=name):
        catalogue.load("housing", tmp_path)


@pytest.mark.parametrize("download", [True, False])
def test_missing_data_say_where_they_belong_and_how_to_get_them(download, tmp_path):
    where = tmp_path / "nowhere"
    with pytest.raises(DataMissing) as caught:
        catalogue.load("housing", where, download)
    message = str(caught.value)
    assert "Remedy: put cal_housing.data" in message
    assert str(where) in message
    assert not where.exists() or not list(where.iterdir())


def test_missing_data_are_not_remembered(raw_housing, tmp_path):
    with pytest.raises(DataMissing):
        catalogue.load("housing", tmp_path)
    (tmp_path / "cal_housing.data").write_bytes(raw_housing)
    assert catalogue.load("housing", tmp_path).checksum == HOUSING


def test_a_data_directory_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataMissing, match="Remedy"):
        catalogue.load("housing", tmp_path / "file")


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"one of housing, mimic2, mimic3, income, credit, .*, got 'boston'"):
        catalogue.load("boston")


@pytest.mark.parametrize(("name", "shape"), [("diabetes", (442, 10)), ("breast_cancer", (569, 30))])
def test_bundled_data_need_neither_files_nor_network(name, shape, tmp_path):
    dataset = catalogue.load(name, tmp_path)
    assert dataset.x.shape == shape
    assert dataset.checksum == catalogue.REGISTRY[name].checksum
    assert (dataset.task, dataset.metric) == (catalogue.REGISTRY[name].task, catalogue.REGISTRY[name].metric)


@pytest.fixture(scope="session")
def adult():
    path = catalogue.directory() / "adult.data"
    if not path.exists():
        pytest.skip(f"{path.absolute()} is not there; set MIXNAM_DATA to a directory that holds it")
    return path.read_bytes()


def test_income_is_the_published_table(adult, tmp_path):
    (tmp_path / "adult.data").write_bytes(adult)
    income = catalogue.load("income", tmp_path, download=False)
    assert income.x.shape == (32561, 14)
    assert (income.task, income.metric, income.y.sum()) == ("classification", "auc", 7841)
    assert [income.features[i] for i in income.categories] == [
        "workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country",
    ]  # fmt: skip
    unknown = {
        income.features[i]: int((income.x[:, i] == labels.index("?")).sum())
        for i, labels in income.categories.items()
        if "?" in labels
    }
    assert unknown == {"workclass": 1836, "occupation": 1843, "native-country": 583}
    assert all(list(labels) == sorted(labels) for labels in income.categories.values())
    first = [income.categories[i][int(v)] if i in income.categories else v for i, v in enumerate(income.x[0])]
    assert first == [
        39, "State-gov", 77516, "Bachelors", 13, "Never-married", "Adm-clerical", "Not-in-family", "White", "Male",
        2174, 0, 40, "United-States",
    ]  # fmt: skip
    assert income.x[:, 0].mean() == pytest.approx(38.5816, abs=5e-5)
    assert income.y[:8].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert income.folds is None and catalogue.REGISTRY["income"].splits == FOLDS


def test_incomes_folds_test_each_row_once(adult, tmp_path):
    (tmp_path / "adult.data").write_bytes(adult)
    income = catalogue.load("income", tmp_path)
    splits = [split_rows(income, name, 0) for name in FOLDS]
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(32561))
    for split in splits:
        assert sorted(np.concatenate([split.train, split.validation, split.test])) == list(range(32561))
        assert income.y[split.test].mean() == pytest.approx(0.2408, abs=0.015)
        assert income.y[split.validation].mean() == pytest.approx(income.y[split.train].mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda table: table[: len(table) // 2 - 9], "expected 15", id="cut within a line"),
        pytest.param(lambda table: table[: table.index(b"\n", 9000) + 1], "replace or remove", id="cut at a line"),
        pytest.param(lambda table: b"", "rows of no columns, expected 15", id="empty"),
        pytest.param(lambda table: b"<!DOCTYPE html><p>not found, sorry", "rows of 2 columns", id="a page"),
        pytest.param(lambda table: b"\xff" + table, "decode", id="binary"),
        pytest.param(lambda table: table.replace(b"39,", b"old,", 1), "could not convert", id="a word for a number"),
        pytest.param(lambda table: table.replace(b">50K", b"<=50K"), "both classes", id="one class"),
    ],
)
def test_another_adult_table_is_refused_by_name_and_remedy(damage, message, tmp_path):
    line = b"39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40,"
    table = (line + b" United-States, <=50K\n" + line + b" United-States, >50K\n") * 100
    (tmp_path / "adult.data").write_bytes(damage(table + b"\n"))
    with pytest.raises(DataError, match=message) as caught:
        catalogue.load("income", tmp_path)
    assert "adult.data" in str(caught.value)
    assert "remove" in str(caught.value)


@pytest.mark.parametrize("download", [True, False])
def test_missing_income_says_where_it_belongs(download, tmp_path):
    with pytest.raises(DataMissing, match=r"Remedy: put adult\.data") as caught:
        catalogue.load("income", tmp_path, download)
    assert str(tmp_path) in str(caught.value)


def test_income_is_downloaded_where_it_is_missing(adult, publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(Publisher, "do_GET", lambda self: self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + adult))
    monkeypatch.setattr(Publisher, "close_connection", True, raising=False)
    monkeypatch.setattr(publishers, "_INCOME_URL", f"{publisher}/adult.data")
    assert catalogue.load("income", tmp_path).y.sum() == 7841
    assert [path.name for path in tmp_path.iterdir()] == ["adult.data"]


def test_a_checksum_is_the_registrys_else_that_of_the_data():
    assert catalogue.checksum("housing") == HOUSING
    assert catalogue.REGISTRY["sim_noise"].checksum == ""
    assert catalogue.checksum("sim_noise") == catalogue.load("sim_noise").checksum
    with pytest.raises(ValueError, match="dataset must be one of"):
        catalogue.checksum("boston")


CONTENT = bytes(range(256)) * 2000  # several reads long
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Publisher(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/no-http":
            self.wfile.write(b"hello, who is there?\r\n\r\n")
            self.close_connection = True
            return
        self.send_response(200)
        chunked = "chunked" in self.path
        self.send_header(*("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(CONTENT))))
        self.end_headers()
        sent = CONTENT[: len(CONTENT) // 2] if "half" in self.path else CONTENT
        if chunked:
            self.wfile.write(f"{len(CONTENT):x}\r\n".encode() + sent)
        else:
            self.wfile.write(sent)
        if "half" in self.path:
            self.close_connection = True
        elif chunked:
            self.wfile.write(b"\r\n0\r\n\r\n")

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def publisher():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("page", ["whole", "chunked"])
def test_a_download_arrives_under_its_name(page, publisher, tmp_path):
    path = tmp_path / "new" / "table.tgz"
    fetch(f"{publisher}/{page}", path, SHA256, "table")
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_other_content_than_expected_is_not_kept(publisher, tmp_path):
    with pytest.raises(DataError, match="other content than expected") as caught:
        fetch(f"{publisher}/whole", tmp_path / "table.tgz", "0" * 64, "table")
    assert SHA256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert f"{publisher}/whole" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", ["half", "half-chunked", "missing", "no-http"])
def test_a_download_that_fails_is_reported_and_leaves_nothing(page, publisher, tmp_path):
    with pytest.raises(DataMissing, match=f"table: could not download {publisher}/{page}"):
        fetch(f"{publisher}/{page}", tmp_path / "table.tgz", SHA256, "table")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_connection_is_reported_and_leaves_nothing(tmp_path):
    with pytest.raises(DataMissing, match="could not download"):
        fetch(f"http://127.0.0.1:{free_port()}/table", tmp_path / "table.tgz", SHA256, "table")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(publisher, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{publisher}/whole", tmp_path / "table.tgz", SHA256, "table")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_the_old_file(publisher, tmp_path):
    path = tmp_path / "table.tgz"
    path.write_bytes(b"old")
    with contextlib.suppress(DataError):
        fetch(f"{publisher}/whole", path, "0" * 64, "table")
    assert path.read_bytes() == b"old"


def test_housing_is_downloaded_where_it_is_missing(raw_housing, publisher, tmp_path, monkeypatch):
    content = archive(raw_housing)
    monkeypatch.setattr(Publisher, "do_GET", lambda self: self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + content))
    monkeypatch.setattr(Publisher, "close_connection", True, raising=False)
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_URL", f"{publisher}/cal_housing.tgz")
    monkeypatch.setattr("mixnam.data.publishers._HOUSING_SHA256", hashlib.sha256(content).hexdigest())
    assert catalogue.load("housing", tmp_path).checksum == HOUSING
    assert [path.name for path in tmp_path.iterdir()] == ["cal_housing.tgz"]


X = np.arange(12.0).reshape(4, 3)
Y = np.array([0.0, 1.0, 1.0, 0.0])
SEXES = tuple("abcdefghijkl")  # X holds codes up to 11


def table(x=X, y=Y, features=("age", "sex", "income"), task="regression", **more):
    return Table("mine", "Mine", task, "rmse", x, y, features, "wealth", **more)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_refused_by_feature_and_count(bad):
    with pytest.raises(DataError, match="feature 'income' holds 3 missing or infinite values; fill or drop"):
        table(x=changed(X, ([0, 2, 3], 2), bad))
    with pytest.raises(DataError, match="target 'wealth' holds 2 missing or infinite values; drop"):
        table(y=changed(Y, [1, 2], bad))


@pytest.mark.parametrize("y", [np.zeros(4), np.ones(4), np.array([1.0, 2, 1, 2]), np.array([0.0, 1, 2, 1])])
def test_classes_other_than_0_and_1_are_refused(y):
    found = ", ".join(f"{v:g}" for v in np.unique(y))
    with pytest.raises(DataError, match=f"target 'wealth' must hold both classes 0 and 1, found {found}"):
        table(y=y, task="classification")
    table(y=y)  # a regression may have any values


@pytest.mark.parametrize(
    "wrong",
    [
        {"y": Y[:3]},
        {"y": Y[:, None]},
        {"features": ("age", "sex")},
        {"x": X[:, :2]},
        {"x": X[:, 0]},
        {"x": X[None]},
    ],
    ids=lambda wrong: ", ".join(f"{k} {np.shape(v)}" for k, v in wrong.items()),
)
def test_shapes_that_disagree_are_refused(wrong):
    with pytest.raises(DataError, match=r"mine: .*must agree"):
        table(**wrong)


def test_checksum_depends_on_everything_that_training_sees():
    base = table(task="classification", folds=np.array([0, 1, 2, 3]), categories={1: SEXES})
    others = {
        "x": dataclasses.replace(base, x=changed(X, (0, 0), 1e-9)),
        "order of x": dataclasses.replace(base, x=X[:, ::-1]),
        "y": dataclasses.replace(base, y=1 - Y),
        "folds": dataclasses.replace(base, folds=np.array([1, 0, 2, 3])),
        "no folds": dataclasses.replace(base, folds=None),
        "column of the categories": dataclasses.replace(base, categories={0: SEXES}),
        "no categories": dataclasses.replace(base, categories={}),
        "task": dataclasses.replace(base, task="regression"),
    }
    checksums = {name: other.checksum for name, other in others.items()}
    assert len({base.checksum, *checksums.values()}) == 1 + len(others), checksums


def test_checksum_depends_on_no_name_and_no_memory_layout():
    base = table(categories={1: SEXES})
    same = Table(
        "theirs", "Theirs", "regression", "mse", np.asfortranarray(X), Y, ("a", "b", "c"), "t", "euros",
        categories={1: tuple("mnopqrstuvwx")}, source="elsewhere",
    )  # fmt: skip
    assert same.checksum == base.checksum


@pytest.mark.parametrize("code", [-1.0, 2.0, 0.5])
def test_category_codes_outside_their_range_are_refused(code):
    x = np.array([[0.0], [1.0], [code]])
    with pytest.raises(DataError, match="feature 'kind' must hold codes 0 to 1, found"):
        Table("mine", "", "regression", "rmse", x, np.arange(3.0), ("kind",), "y", categories={0: ("a", "b")})


def test_folds_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"folds are .* they must agree in rows"):
        Table("mine", "", "regression", "rmse", np.ones((3, 1)), np.arange(3.0), ("a",), "y", folds=np.zeros(2, int))
