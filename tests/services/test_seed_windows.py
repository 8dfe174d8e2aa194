"""The answer file of Windows Setup: what it says of the disk, the edition, the drivers, the users, and its checks."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from webvirt.services.seeds.disc import disc_of
from webvirt.services.seeds.windows import (
    FILE,
    GENERIC_KEYS,
    LABEL,
    NAMESPACE,
    WCM,
    Unattended,
    Windows,
    answer_file,
    check,
    hidden,
)

SERVER = Unattended(Windows.SERVER_2022, "srv1", "Geheim.12", image_index=2)
CLIENT = Unattended(Windows.W11, "desk1", "kürzer", user="ada", image_name="Windows 11 Pro")


class Answers:
    """The answers to be asked by path, from a component on: `Shell-Setup/OOBE/HideEULAPage`."""

    def __init__(self, wanted: Unattended) -> None:
        self.root = etree.fromstring(answer_file(wanted))

    def elements(self, where: str, path: str) -> list[etree._Element]:
        component, _, rest = path.partition("/")
        steps = "".join(f"/u:{step}" for step in rest.split("/") if step)
        found = self.root.xpath(
            f"/u:unattend/u:settings[@pass='{where}']/u:component[@name='{component}' or "
            f"@name='Microsoft-Windows-{component}']{steps}",
            namespaces={"u": NAMESPACE},
        )
        assert isinstance(found, list)
        return found  # type: ignore[return-value]

    def texts(self, where: str, path: str) -> list[str | None]:
        return [one.text for one in self.elements(where, path)]


def test_every_component_is_of_windows_itself() -> None:
    for wanted in (SERVER, replace(CLIENT, remote_desktop=True)):
        answers = Answers(wanted)
        assert answers.root.tag == f"{{{NAMESPACE}}}unattend"
        assert [one.get("pass") for one in answers.root] == ["windowsPE", "specialize", "oobeSystem"]
        components = [component for settings in answers.root for component in settings]
        assert {one.get("processorArchitecture") for one in components} == {"amd64"}
        assert {one.get("publicKeyToken") for one in components} == {"31bf3856ad364e35"}


@pytest.mark.parametrize(
    ("efi", "types", "formats", "last"),
    [
        (True, ["EFI", "MSR", "Primary"], ["FAT32", "NTFS"], "3"),
        (False, ["Primary", "Primary"], ["NTFS", "NTFS"], "2"),
    ],
)
def test_the_disk_is_cut_for_its_firmware(efi: bool, types: list[str], formats: list[str], last: str) -> None:
    answers = Answers(replace(SERVER, efi=efi))
    disk = "Setup/DiskConfiguration/Disk"
    assert answers.texts("windowsPE", f"{disk}/WillWipeDisk") == ["true"]
    assert answers.texts("windowsPE", f"{disk}/CreatePartitions/CreatePartition/Type") == types
    assert answers.texts("windowsPE", f"{disk}/ModifyPartitions/ModifyPartition/Format") == formats
    assert answers.texts("windowsPE", f"{disk}/ModifyPartitions/ModifyPartition/Active") == [] if efi else ["true"]
    assert answers.texts("windowsPE", f"{disk}/CreatePartitions/CreatePartition/Order")[-1] == last
    assert len(answers.elements("windowsPE", f"{disk}/CreatePartitions/CreatePartition/Extend")) == 1
    assert answers.texts("windowsPE", "Setup/ImageInstall/OSImage/InstallTo/PartitionID") == [last]


@pytest.mark.parametrize(
    ("wanted", "image", "key"),
    [
        (SERVER, ["/IMAGE/INDEX", "2"], []),
        (CLIENT, ["/IMAGE/NAME", "Windows 11 Pro"], [GENERIC_KEYS["Pro"]]),
        (replace(CLIENT, image_name="Windows 10 Home"), ["/IMAGE/NAME", "Windows 10 Home"], [GENERIC_KEYS["Home"]]),
        (
            replace(SERVER, image_index=0, image_name="Windows Server 2022 SERVERSTANDARD"),
            ["/IMAGE/NAME", "Windows Server 2022 SERVERSTANDARD"],
            [],
        ),
        (
            replace(CLIENT, product_key="AAAAA-BBBBB-CCCCC-DDDDD-12345"),
            ["/IMAGE/NAME", "Windows 11 Pro"],
            ["AAAAA-BBBBB-CCCCC-DDDDD-12345"],
        ),
    ],
)
def test_the_edition_is_chosen(wanted: Unattended, image: list[str], key: list[str]) -> None:
    answers = Answers(wanted)
    (meta,) = answers.elements("windowsPE", "Setup/ImageInstall/OSImage/InstallFrom/MetaData")
    assert [child.text for child in meta] == image
    assert answers.texts("windowsPE", "Setup/UserData/ProductKey/Key") == key
    assert answers.texts("windowsPE", "Setup/UserData/AcceptEula") == ["true"]


@pytest.mark.parametrize("system", list(Windows))
def test_setup_finds_its_drivers(system: Windows) -> None:
    answers = Answers(replace(SERVER, system=system, user="ada"))
    paths = answers.elements("windowsPE", "PnpCustomizationsWinPE/DriverPaths/PathAndCredentials")
    assert len({path.get(f"{{{WCM}}}keyValue") for path in paths}) == len(paths) == 12
    assert {path.get(f"{{{WCM}}}action") for path in paths} == {"add"}
    texts = [path[0].text for path in paths]
    assert rf"D:\viostor\{system}\amd64" in texts
    assert rf"G:\NetKVM\{system}\amd64" in texts
    assert rf"E:\vioscsi\{system}\amd64" in texts


def test_a_password_is_written_as_windows_writes_it() -> None:
    # Microsoft's own example, of the password "pw".
    value = "cAB3AEEAZABtAGkAbgBpAHMAdAByAGEAdABvAHIAUABhAHMAcwB3AG8AcgBkAA=="
    assert hidden("pw", "AdministratorPassword") == {"Value": value, "PlainText": "false"}


def password(answers: Answers, path: str) -> list[str]:
    values = answers.texts("oobeSystem", f"Shell-Setup/{path}/Value")
    assert answers.texts("oobeSystem", f"Shell-Setup/{path}/PlainText") == ["false"] * len(values)
    return [base64.b64decode(value or "").decode("utf-16-le") for value in values]


def test_a_server_has_its_administrator() -> None:
    answers = Answers(SERVER)
    assert password(answers, "UserAccounts/AdministratorPassword") == ["Geheim.12AdministratorPassword"]
    assert answers.elements("oobeSystem", "Shell-Setup/UserAccounts/LocalAccounts") == []
    assert answers.texts("oobeSystem", "Shell-Setup/AutoLogon/Username") == ["Administrator"]
    assert password(answers, "AutoLogon/Password") == ["Geheim.12Password"]
    both = Answers(replace(SERVER, user="ada"))
    assert password(both, "UserAccounts/AdministratorPassword") == ["Geheim.12AdministratorPassword"]
    assert both.texts("oobeSystem", "Shell-Setup/UserAccounts/LocalAccounts/LocalAccount/Name") == ["ada"]


def test_a_client_has_the_user_that_was_named() -> None:
    answers = Answers(CLIENT)
    account = "UserAccounts/LocalAccounts/LocalAccount"
    assert answers.texts("oobeSystem", f"Shell-Setup/{account}/Name") == ["ada"]
    assert answers.texts("oobeSystem", f"Shell-Setup/{account}/Group") == ["Administrators"]
    assert password(answers, f"{account}/Password") == ["kürzerPassword"]
    assert password(answers, "UserAccounts/AdministratorPassword") == []
    assert answers.texts("oobeSystem", "Shell-Setup/AutoLogon/LogonCount") == ["1"]
    assert answers.texts("oobeSystem", "Shell-Setup/OOBE/HideOnlineAccountScreens") == ["true"]
    assert b"k\xc3\xbcrzer" not in answer_file(CLIENT)


def test_the_guest_tools_are_installed_before_it_restarts() -> None:
    install, restart = Answers(SERVER).elements("oobeSystem", "Shell-Setup/FirstLogonCommands/SynchronousCommand")
    assert [install[0].text, restart[0].text] == ["1", "2"]
    assert r"%d:\virtio-win-guest-tools.exe /install /quiet /norestart" in (install[1].text or "")
    assert "shutdown" in (restart[1].text or "")
    assert len(install[1].text or "") < 1024


def test_it_speaks_the_language_that_was_asked_for() -> None:
    answers = Answers(
        replace(SERVER, language="en-GB", locale="de-DE", keyboard="0407:00000407", time_zone="W. Europe Standard Time")
    )
    assert answers.texts("windowsPE", "International-Core-WinPE/SetupUILanguage/UILanguage") == ["en-GB"]
    assert answers.texts("oobeSystem", "International-Core/UserLocale") == ["de-DE"]
    assert answers.texts("oobeSystem", "International-Core/InputLocale") == ["0407:00000407"]
    assert answers.texts("specialize", "Shell-Setup/TimeZone") == ["W. Europe Standard Time"]
    assert answers.texts("specialize", "Shell-Setup/ComputerName") == ["srv1"]


def test_remote_desktop_is_opened_where_it_is_asked_for() -> None:
    denied, firewall = "TerminalServices-LocalSessionManager/fDenyTSConnections", "Networking-MPSSVC-Svc/FirewallGroups"
    assert Answers(SERVER).elements("specialize", denied) == []
    answers = Answers(replace(SERVER, remote_desktop=True))
    assert answers.texts("specialize", denied) == ["false"]
    assert answers.texts("specialize", f"{firewall}/FirewallGroup/Active") == ["true"]


@pytest.mark.parametrize(
    ("wanted", "part", "values", "sentence"),
    [
        (CLIENT, "computer", ["", "a" * 16, "123", "-a", "a-", "a b", "a.b", "a\n", "é", "<x/>"], "computer's name"),
        (CLIENT, "user", ["", "a" * 21, "a/b", "a@b", "a.", " a", "a\n", "Guest", "SYSTEM"], "no such user"),
        (CLIENT, "user", ["Desk1"], "like the computer"),
        (CLIENT, "user", ["Administrator", "administrator"], "servers only"),
        (SERVER, "user", ["administrator"], "servers only"),
        (CLIENT, "password", [""], "enter one"),
        (CLIENT, "password", ["a\nb", "a\0b", "a" * 128, "\ud800"], "one line"),
        (SERVER, "password", ["Ab.1", "geheim.lang", "GEHEIM123", "12345678.", "xAdministrator1."], "takes no such"),
        (CLIENT, "image_index", [1], "which image"),
        (CLIENT, "image_name", [""], "which image"),
        (SERVER, "image_index", [-1, 100], "between 1 and 99"),
        (CLIENT, "image_name", ["a\nb", "<x/>", "a" * 200], "image's name"),
        (CLIENT, "product_key", ["x", "AAAAA-BBBBB-CCCCC-DDDDD", "aaaaa-BBBBB-CCCCC-DDDDD-12345"], "product key"),
        (CLIENT, "language", ["", "english", "en_US", "en-US\n"], "language"),
        (CLIENT, "locale", ["de"], "locale"),
        (CLIENT, "keyboard", ["qwertz", "0407"], "keyboard"),
        (CLIENT, "time_zone", ["", "Europe/Berlin", "a\nb"], "time zone"),
    ],
)
def test_each_part_is_checked(wanted: Unattended, part: str, values: list[Any], sentence: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=sentence):
            check(replace(wanted, **{part: value}))


def test_no_log_shows_the_password() -> None:
    assert CLIENT.password not in repr(CLIENT)


def test_it_fits_a_disc() -> None:
    assert disc_of({FILE: answer_file(CLIENT)}, LABEL)
