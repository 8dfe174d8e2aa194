"""The answer file of Windows Setup, FILE on any disc in a drive: Windows is installed without a question.

It is for the discs of Microsoft, 64 bit. Setup erases the first disk. At the first sign-in, which it does by itself,
the guest tools are installed from virtio-win's disc; then the machine starts again and waits for somebody to sign in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias
from xml.etree import ElementTree as ET

FILE = "autounattend.xml"
LABEL = "unattend"
NAMESPACE = "urn:schemas-microsoft-com:unattend"
WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
ADMINISTRATOR = "Administrator"
DRIVES = "DEFG"
"""Where the disc of drivers may be while Setup runs: beside Setup's own and this one."""
DRIVERS = ("viostor", "vioscsi", "NetKVM")
"""Disks and network: what Setup itself needs."""
TOOLS = "virtio-win-guest-tools.exe"
INSTALL_TOOLS = (
    f"cmd.exe /c for %d in (C D E F G H I J K) do if exist %d:\\{TOOLS} "
    f'start "" /wait %d:\\{TOOLS} /install /quiet /norestart'
)
RESTART = "shutdown.exe /r /t 5"
COMPUTER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,13}[A-Za-z0-9])?", re.ASCII)
NOT_IN_USERS = re.compile(r'["/\\\[\]:;|=,+*?<>@%]')
RESERVED = ("guest", "defaultaccount", "wdagutilityaccount", "system", "network service", "local service", "none")
KEY = re.compile(r"[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}", re.ASCII)
LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z]{4})?-[A-Z]{2}", re.ASCII)
KEYBOARD = re.compile(rf"{LOCALE.pattern}|[0-9A-Fa-f]{{4}}:[0-9A-Fa-f]{{8}}", re.ASCII)
TIME_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .()+-]{1,63}", re.ASCII)
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()-]{0,127}", re.ASCII)
LONGEST_PASSWORD = 127
"""Characters."""
LEAST_OF_A_SERVER = 6
"""Characters of a password, which must be of three kinds besides: the policy that a server has by itself."""
GENERIC_KEYS = {
    "Home": "YTMG3-N6DKC-DKB77-7M9GH-8HVX7",
    "Pro": "VK7JG-NPHTM-C97JM-9MPGT-3V66T",
    "Education": "YNMGQ-8RYV3-4PGQ3-C8XTP-7CFBY",
}
"""By edition: Microsoft's own keys to install with, which activate nothing. Setup's consumer discs ask for one."""

Tree: TypeAlias = "str | Mapping[str, Tree] | Sequence[Mapping[str, Tree]]"
"""An element's text, its children by name, or the members of a list that Setup adds one by one."""
REMOTE_DESKTOP_RULES = {"Active": "true", "Group": "@FirewallAPI.dll,-28752", "Profile": "all"}
"""The group's name is in the system's language; this is where Windows itself has it from."""


class Windows(StrEnum):
    """The systems, by the names that their drivers' folders have on virtio-win's disc."""

    W10 = "w10"
    W11 = "w11"
    SERVER_2019 = "2k19"
    SERVER_2022 = "2k22"
    SERVER_2025 = "2k25"

    @property
    def is_server(self) -> bool:
        return self.startswith("2k")


@dataclass(frozen=True)
class Unattended:
    """How Windows is to be installed.

    One of `image_index` and `image_name` says which edition on the disc: `2`, `Windows Server 2022 SERVERSTANDARD`.
    Without a `product_key` the disc's own is used, or a generic one of the edition. `language` must be the disc's;
    `locale` is how numbers and dates are written; `keyboard` is a language or a layout (`0407:00000407`). `user` is
    made an administrator, unless it is the Administrator that a server has by itself.
    """

    system: Windows
    computer: str
    password: str = field(repr=False)
    user: str = ADMINISTRATOR
    image_index: int = 0
    image_name: str = ""
    product_key: str = ""
    efi: bool = True
    language: str = "en-US"
    locale: str = "en-US"
    keyboard: str = "en-US"
    time_zone: str = "UTC"
    remote_desktop: bool = False


def answer_file(wanted: Unattended) -> bytes:
    """The file's XML. ValueError, with a sentence for the person, where a part is not what it should be."""
    check(wanted)
    root = ET.Element("unattend", {"xmlns": NAMESPACE, "xmlns:wcm": WCM})
    for name, components in (
        ("windowsPE", in_setup(wanted)),
        ("specialize", in_specialize(wanted)),
        ("oobeSystem", at_first_boot(wanted)),
    ):
        settings = ET.SubElement(root, "settings", {"pass": name})
        for component, tree in components.items():
            grow(ET.SubElement(settings, "component", attributes_of(component)), tree)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def attributes_of(component: str) -> dict[str, str]:
    return {
        "name": component,
        "processorArchitecture": "amd64",
        "publicKeyToken": "31bf3856ad364e35",
        "language": "neutral",
        "versionScope": "nonSxS",
    }


def grow(parent: ET.Element, tree: Tree) -> None:
    """Give an element its text, or its children and, by names that begin with "@", its attributes."""
    if isinstance(tree, str):
        parent.text = tree
        return
    assert isinstance(tree, Mapping)
    for name, value in tree.items():
        if name.startswith("@"):
            parent.set(name[1:], str(value))
        elif isinstance(value, str | Mapping):
            grow(ET.SubElement(parent, name), value)
        else:
            for member in value:
                grow(ET.SubElement(parent, name, {"wcm:action": "add"}), member)


# --- while Setup runs


def in_setup(wanted: Unattended) -> dict[str, Tree]:
    return {
        "Microsoft-Windows-International-Core-WinPE": {
            "SetupUILanguage": {"UILanguage": wanted.language},
            **languages_of(wanted),
        },
        "Microsoft-Windows-PnpCustomizationsWinPE": {"DriverPaths": {"PathAndCredentials": [*drivers_of(wanted)]}},
        "Microsoft-Windows-Setup": {
            "DiskConfiguration": {"WillShowUI": "OnError", "Disk": [disk_of(wanted.efi)]},
            "ImageInstall": {"OSImage": image_of(wanted)},
            "UserData": {"AcceptEula": "true", "ProductKey": product_key_of(wanted)},
        },
    }


def languages_of(wanted: Unattended) -> dict[str, Tree]:
    return {
        "InputLocale": wanted.keyboard,
        "SystemLocale": wanted.locale,
        "UILanguage": wanted.language,
        "UserLocale": wanted.locale,
    }


def drivers_of(wanted: Unattended) -> list[dict[str, Tree]]:
    paths = [rf"{drive}:\{driver}\{wanted.system}\amd64" for drive in DRIVES for driver in DRIVERS]
    return [{"@wcm:keyValue": str(at), "Path": path} for at, path in enumerate(paths, 1)]


def disk_of(efi: bool) -> dict[str, Tree]:
    """How the first disk is cut: sizes in MB. The last partition, which takes the rest, is for Windows."""
    if efi:
        made = [{"Type": "EFI", "Size": "260"}, {"Type": "MSR", "Size": "16"}, {"Type": "Primary", "Extend": "true"}]
        formatted = [{"Format": "FAT32", "Label": "System"}, {}, {"Format": "NTFS", "Label": "Windows", "Letter": "C"}]
    else:
        made = [{"Type": "Primary", "Size": "100"}, {"Type": "Primary", "Extend": "true"}]
        formatted = [
            {"Format": "NTFS", "Label": "System Reserved", "Active": "true"},
            {"Format": "NTFS", "Label": "Windows", "Letter": "C"},
        ]
    return {
        "DiskID": "0",
        "WillWipeDisk": "true",
        "CreatePartitions": {"CreatePartition": [{"Order": str(at), **one} for at, one in enumerate(made, 1)]},
        "ModifyPartitions": {
            "ModifyPartition": [
                {"Order": str(at), "PartitionID": str(at), **one} for at, one in enumerate(formatted, 1)
            ]
        },
    }


def image_of(wanted: Unattended) -> dict[str, Tree]:
    by_name = {"Key": "/IMAGE/NAME", "Value": wanted.image_name}
    by_index = {"Key": "/IMAGE/INDEX", "Value": str(wanted.image_index)}
    return {
        "WillShowUI": "OnError",
        "InstallFrom": {"MetaData": [by_name if wanted.image_name else by_index]},
        "InstallTo": {"DiskID": "0", "PartitionID": "3" if wanted.efi else "2"},
    }


def product_key_of(wanted: Unattended) -> dict[str, Tree]:
    edition = wanted.image_name.removeprefix("Windows 10 ").removeprefix("Windows 11 ")
    key = wanted.product_key or GENERIC_KEYS.get(edition, "")
    shown: dict[str, Tree] = {"WillShowUI": "OnError"}
    return shown | {"Key": key} if key else shown


# --- in the system that was installed


def in_specialize(wanted: Unattended) -> dict[str, Tree]:
    found: dict[str, Tree] = {
        "Microsoft-Windows-Shell-Setup": {"ComputerName": wanted.computer, "TimeZone": wanted.time_zone}
    }
    if wanted.remote_desktop:
        found |= {
            "Microsoft-Windows-TerminalServices-LocalSessionManager": {"fDenyTSConnections": "false"},
            "Networking-MPSSVC-Svc": {
                "FirewallGroups": {"FirewallGroup": [{"@wcm:keyValue": "RemoteDesktop", **REMOTE_DESKTOP_RULES}]}
            },
        }
    return found


def at_first_boot(wanted: Unattended) -> dict[str, Tree]:
    commands = (INSTALL_TOOLS, RESTART)
    return {
        "Microsoft-Windows-International-Core": languages_of(wanted),
        "Microsoft-Windows-Shell-Setup": {
            "AutoLogon": {
                "Enabled": "true",
                "LogonCount": "1",
                "Username": wanted.user,
                "Password": hidden(wanted.password, "Password"),
            },
            "FirstLogonCommands": {
                "SynchronousCommand": [
                    {"Order": str(at), "CommandLine": command} for at, command in enumerate(commands, 1)
                ]
            },
            "OOBE": {
                "HideEULAPage": "true",
                "HideLocalAccountScreen": "true",
                "HideOEMRegistrationScreen": "true",
                "HideOnlineAccountScreens": "true",
                "HideWirelessSetupInOOBE": "true",
                "ProtectYourPC": "3",
            },
            "UserAccounts": accounts_of(wanted),
        },
    }


def accounts_of(wanted: Unattended) -> dict[str, Tree]:
    """A server asks for its Administrator's password whoever else there is."""
    accounts: dict[str, Tree] = {}
    own = wanted.user != ADMINISTRATOR
    if wanted.system.is_server or not own:
        accounts["AdministratorPassword"] = hidden(wanted.password, "AdministratorPassword")
    if own:
        password = hidden(wanted.password, "Password")
        account: dict[str, Tree] = {"Name": wanted.user, "Group": "Administrators", "Password": password}
        accounts["LocalAccounts"] = {"LocalAccount": [account]}
    return accounts


def hidden(password: str, element: str) -> dict[str, Tree]:
    """A password as Windows keeps it from being read at a glance, with its element's name at its end. No secrecy."""
    value = base64.b64encode((password + element).encode("utf-16-le")).decode()
    return {"Value": value, "PlainText": "false"}


# --- checks


def check(wanted: Unattended) -> None:
    """Raise ValueError, with a sentence for the person, unless every part is what it should be."""
    if not COMPUTER.fullmatch(wanted.computer) or wanted.computer.isdecimal():
        raise ValueError("The computer's name must be 1 to 15 letters, digits and '-', and not digits alone.")
    check_user(wanted)
    check_password(wanted)
    check_image(wanted)
    for what, text, pattern, example in (
        ("language", wanted.language, LOCALE, "en-US"),
        ("locale", wanted.locale, LOCALE, "en-US"),
        ("keyboard", wanted.keyboard, KEYBOARD, "en-US or 0409:00000409"),
        ("time zone", wanted.time_zone, TIME_ZONE, "W. Europe Standard Time"),
    ):
        if not pattern.fullmatch(text):
            raise ValueError(f"The {what} must be one as Windows names it, such as {example}.")


def check_user(wanted: Unattended) -> None:
    user = wanted.user
    plain = 1 <= len(user) <= 20 and user.isprintable() and not NOT_IN_USERS.search(user)
    if not plain or user != user.strip() or user.endswith(".") or user.lower() in RESERVED:
        raise ValueError("Windows has no such user: 1 to 20 letters and digits, with '.', '_' and '-' between them.")
    if user.lower() == wanted.computer.lower():
        raise ValueError("The user must not be called like the computer.")
    if user.lower() == ADMINISTRATOR.lower() and (user != ADMINISTRATOR or not wanted.system.is_server):
        # Windows 10 and 11 have theirs disabled, and would ask for another.
        raise ValueError(f"The user {ADMINISTRATOR}, written like this, is there on servers only: choose another name.")


def check_password(wanted: Unattended) -> None:
    password = wanted.password
    if not password:
        raise ValueError("Windows needs a password for its administrator: enter one.")
    if not password.isprintable() or len(password) > LONGEST_PASSWORD:
        raise ValueError(f"A password is one line of at most {LONGEST_PASSWORD} characters.")
    if not wanted.system.is_server:
        return
    others = any(not sign.isalnum() for sign in password)
    kinds = (any(map(str.islower, password)), any(map(str.isupper, password)), any(map(str.isdigit, password)), others)
    holds_user = len(wanted.user) >= 3 and wanted.user.lower() in password.lower()
    if len(password) < LEAST_OF_A_SERVER or sum(kinds) < 3 or holds_user:
        raise ValueError(
            f"Windows Server takes no such password: it must have {LEAST_OF_A_SERVER} characters or more, of three "
            "kinds (small letters, capitals, digits, others), and not hold the user's name."
        )


def check_image(wanted: Unattended) -> None:
    if bool(wanted.image_index) == bool(wanted.image_name):
        raise ValueError("Say which image on the disc is to be installed: by its number or by its name.")
    if not 0 <= wanted.image_index <= 99:
        raise ValueError("The image's number must be between 1 and 99.")
    if wanted.image_name and not IMAGE.fullmatch(wanted.image_name):
        raise ValueError("The image's name must be as the disc has it, such as Windows 11 Pro.")
    if wanted.product_key and not KEY.fullmatch(wanted.product_key):
        raise ValueError("A product key is five groups of five letters and digits, with '-' between them.")
