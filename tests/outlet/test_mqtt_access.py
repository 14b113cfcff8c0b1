"""Getting into the broker: certificates verified, passwords guarded, wrong settings one sentence."""

import re
import subprocess
import time

import pytest
from broker import Broker, Listener, make_ca, make_certificate, need
from test_mqtt import Opened, rules, until
from told import Teller

from edgebms.config import MqttOutlet, Outlets, parse
from edgebms.errors import ConfigError
from edgebms.outlet.mqtt_access import check, client_id


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two authorities; certificates: good, expired, of another host, ours as a client."""
    folder = tmp_path_factory.mktemp("keys")
    make_ca(folder)
    make_ca(folder, "stranger")
    make_certificate(folder, "good", host="127.0.0.1")
    make_certificate(folder, "expired", host="127.0.0.1", days=-1)
    make_certificate(folder, "elsewhere", host="elsewhere.example")
    make_certificate(folder, "client", host="gateway.example")
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def tls_broker(folder, keys, name, more=""):
    return Broker(folder, f"certfile {keys}/{name}.pem\nkeyfile {keys}/{name}.key\n{more}")


def secure(broker, keys, **other):
    return MqttOutlet(**({"host": "127.0.0.1", "port": broker.port, "ca_file": f"{keys}/ca.pem", "every_s": 0.05} | other))


def test_a_broker_with_a_good_certificate_is_spoken_to(tmp_path, keys):
    with (
        tls_broker(tmp_path, keys, "good") as broker,
        Listener(broker, ca_certs=f"{keys}/ca.pem") as ear,
        Opened(secure(broker, keys)) as outlet,
    ):
        Teller().tell(outlet)
        assert ear.wait("/state").body["pack"] == "rack-1"


@pytest.mark.parametrize(
    ("certificate", "authority", "sentence"),
    [
        ("good", "stranger", "unable to get local issuer certificate"),
        ("good", "", "self-signed certificate in certificate chain|unable to get local issuer certificate"),
        ("expired", "ca", "certificate has expired"),
        ("elsewhere", "ca", "IP address mismatch"),
    ],
)
def test_any_other_certificate_is_refused_and_nothing_goes_out(tmp_path, keys, capsys, monkeypatch, certificate, authority, sentence):
    monkeypatch.setattr("edgebms.outlet.mqtt_health.DOWN_S", 0.2)
    with tls_broker(tmp_path, keys, certificate) as broker:
        ca_file = f"{keys}/{authority}.pem" if authority else ""
        with Opened(secure(broker, keys, ca_file=ca_file)) as outlet:
            Teller().tell(outlet)
            until(lambda: "outlet_down.mqtt" in rules(outlet))
            assert outlet.connections == 0
        said = capsys.readouterr().err
        assert "is refused" in said and any(words in said for words in sentence.split("|")), said
        assert "Traceback" not in said
        assert "New client connected" not in broker.log.read_text()


def test_a_broker_without_tls_is_not_spoken_to_in_the_clear(tmp_path, keys, capsys):
    with Broker(tmp_path) as broker, Opened(secure(broker, keys)) as outlet:
        until(lambda: "no TLS" in capsys.readouterr().err)
        assert outlet.connections == 0 and "New client connected" not in broker.log.read_text()


def test_a_broker_that_asks_for_our_certificate_gets_it(tmp_path, keys, capsys):
    with tls_broker(tmp_path, keys, "good", f"cafile {keys}/ca.pem\nrequire_certificate true") as broker:
        with Opened(secure(broker, keys)) as outlet:
            # the broker's own words, or, where its reset overtook them, our question
            until(lambda: re.search("certificate required|want our certificate", capsys.readouterr().err.lower()))
            assert outlet.connections == 0
        ours = {"cert_file": f"{keys}/client.pem", "key_file": f"{keys}/client.key"}
        with Opened(secure(broker, keys, **ours)) as outlet:
            until(lambda: outlet.connected)


def test_user_and_password(tmp_path, capsys):
    need("mosquitto_passwd", "mosquitto")
    (tmp_path / "passwords").write_text("gateway:secret\n")
    subprocess.run(["mosquitto_passwd", "-U", tmp_path / "passwords"], check=True)
    (tmp_path / "passwords").chmod(0o644)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret\n")
    wrong.write_text("guess")
    for file in (right, wrong):
        file.chmod(0o600)
    with Broker(tmp_path, f"password_file {tmp_path}/passwords", anonymous=False) as broker:
        plain = {"host": "127.0.0.1", "port": broker.port, "tls": False, "username": "gateway"}
        with Opened(MqttOutlet(**plain, password_file=str(right))) as outlet:
            until(lambda: outlet.connected)
        capsys.readouterr()
        with Opened(MqttOutlet(**plain, password_file=str(wrong))) as outlet:
            said = ""
            end_s = time.monotonic() + 20
            while "refuses the connection: Not authorized" not in said:
                assert time.monotonic() < end_s, said
                said += capsys.readouterr().err
                time.sleep(0.05)
            # put right while it runs: the file is read at each attempt
            wrong.write_text("secret")
            until(lambda: outlet.connected)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"username": "u", "tls": False, "host": "broker.lan"}, "travel unencrypted"),
        ({"cert_file": "a.pem"}, "go together"),
        ({"ca_file": "ca.pem", "tls": False}, "TLS is off"),
        ({"password_file": "p"}, "without a user"),
        ({"username": "u", "password_file": "/nonexistent/p"}, "No such file"),
        ({"ca_file": "/nonexistent/ca.pem"}, "No such file"),
        ({"ca_file": __file__}, "no certificate or key"),
        ({"cert_file": __file__, "key_file": __file__}, "no certificate or key"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(fields, words):
    with pytest.raises(ConfigError, match=words) as caught:
        check(MqttOutlet(**({"host": "broker.example"} | fields)))
    assert "outlet.mqtt" in str(caught.value) and caught.value.mend


def test_a_password_in_the_clear_is_taken_on_this_machine_and_where_it_is_asked_for():
    assert check(MqttOutlet(host="localhost", tls=False, username="u")) == []
    assert check(MqttOutlet(host="broker.lan", tls=False, username="u", plain_password=True)) == []


def test_a_password_that_everybody_can_read_is_a_warning(tmp_path):
    file = tmp_path / "password"
    file.write_text("secret")
    settings = MqttOutlet(host="localhost", username="u", password_file=str(file))
    file.chmod(0o644)
    (warning,) = check(settings)
    assert "readable by everybody" in warning and "secret" not in warning
    file.chmod(0o640)
    assert check(settings) == []


def test_client_ids_differ_by_machine_and_stay(monkeypatch, tmp_path):
    settings = MqttOutlet(host="localhost")
    monkeypatch.setattr("edgebms.outlet.mqtt_access.MACHINE_ID", tmp_path / "id")
    names = []
    for machine in ("one", "two", "one"):
        (tmp_path / "id").write_text(machine)
        names.append(client_id(settings, ("rack-1",)))
    assert names[0] == names[2] != names[1]
    assert client_id(settings, ("rack-2",)) != names[0], "two gateways on one machine"
    assert client_id(MqttOutlet(host="localhost", client_id="mine"), ("rack-1",)) == "mine"


def test_the_section_is_parsed_strictly():
    pack = '[[pack]]\nname = "p"\nprofile = "edgebms"\ncard = "lg_hg2"\ncells = 16\n[outlet.mqtt]\n'
    assert parse(pack + 'host = "b"').outlet == Outlets(mqtt=MqttOutlet(host="b"))
    for wrong in ("", 'host = "b"\ntopic = "a/#"', 'host = "b"\nport = 0', 'host = "b"\nretain = true'):
        with pytest.raises(ConfigError):
            parse(pack + wrong)
