# What deploy/run, manage, test, process and packages share; they source it under `set -euo pipefail`.
# shellcheck shell=bash
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
stop() { printf 'webvirt: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$EUID" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Debian's packages, each with what shows that it is there already, by whatever way it came.
run_packages='
libvirt-daemon-system:libvirtd            libvirt, which runs the guests
libvirt-clients:virsh                     its command line
qemu-system-x86:qemu-system-x86_64        QEMU, the guests themselves
qemu-utils:qemu-img                       QEMU for disk images
ovmf:/usr/share/OVMF                      UEFI firmware for guests
swtpm-tools:swtpm_setup                   TPM for guests
dnsmasq-base:dnsmasq                      addresses on guest networks
osinfo-db:/usr/share/osinfo/os            operating systems, to recognize images
redis-server:redis-server                 Redis, a private one, for queues and live pages
nginx:nginx                               nginx, a private one, the front
python3:python3                           Python
python3-venv:@ensurepip                   Python environments
python3-dev:@headers                      to build libvirt-python and python-ldap
gcc:gcc                                   to build libvirt-python and python-ldap
pkg-config:pkg-config                     to build libvirt-python
libvirt-dev:/usr/include/libvirt          to build libvirt-python
libldap-dev:/usr/include/ldap.h           to build python-ldap
libsasl2-dev:/usr/include/sasl            to build python-ldap
nodejs:node                               to bring the front-end packages
npm:npm                                   to bring the front-end packages
gettext:msgfmt                            translations
openssh-client:ssh                        to reach other hosts
libsasl2-modules:@sasl                    to sign in to hosts that ask for a password
'
test_packages='
chromium-headless-shell:chromium-headless-shell   the browser of the tests
fonts-noto-cjk:/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc   Chinese on its screenshots
iproute2:ip                               hosts in network namespaces
iptables:iptables                         hosts that drop packets
openssh-server:/usr/sbin/sshd             hosts reached by SSH
sasl2-bin:saslpasswd2                     hosts that ask for a password
slapd:/usr/sbin/slapd                     an LDAP directory, a private one
busybox-static:busybox                    the tiny guest
cpio:cpio                                 the tiny guest
kmod:modprobe                             the tiny guest
linux-image-cloud-amd64:@cloud-kernel     the tiny guest
lvm2:vgs                                  storage pools of volume groups
parted:parted                             storage pools of partitions, the guest for clouds
e2fsprogs:mke2fs                          the guest for clouds
postgresql:@postgresql                    the database besides SQLite
'

is_there() {
    case $1 in
    @ensurepip) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    @headers) [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)/Python.h" ] ;;
    @sasl) compgen -G '/usr/lib/*/sasl2/libscram.so*' >/dev/null ;;
    @postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    @cloud-kernel) compgen -G '/boot/vmlinuz-*-cloud-amd64' >/dev/null ;;
    /*) [ -e "$1" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

# install_packages TABLE: says what is missing, and installs just that.
install_packages() {
    local missing=() entry shows what
    while read -r entry what; do
        [ -n "$entry" ] || continue
        shows=${entry#*:}
        is_there "$shows" && continue
        [ ${#missing[@]} -gt 0 ] || say "These packages of your distribution are missing and will be installed:"
        printf '  %-24s %s\n' "${entry%%:*}" "$what"
        missing+=("${entry%%:*}")
    done <<<"$1"
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || stop "there is no apt-get here: install what is listed above in your system's way."
    [ "$EUID" = 0 ] || command -v sudo >/dev/null || stop "installing needs root: run deploy/packages as root first."
    keep_services_quiet
    as_root apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
    let_services_speak
}

# Debian starts what it installs: a second Redis, an nginx on port 80, a PostgreSQL, slapd. Ours are private, so these stay off.
keep_services_quiet() {
    quieted=()
    local service
    for service in nginx redis-server postgresql slapd; do
        [[ " ${missing[*]} " != *" $service "* ]] || quieted+=("$service")
    done
    [ ${#quieted[@]} -gt 0 ] && [ ! -e /usr/sbin/policy-rc.d ] || return 0
    trap let_services_speak EXIT
    printf '#!/bin/sh\ncase $1 in nginx|redis-server|redis|postgresql|slapd) exit 101 ;; esac\n' |
        as_root install -m 755 /dev/stdin /usr/sbin/policy-rc.d
    quiet=yes
}

let_services_speak() {
    [ -z "${quiet:-}" ] || as_root rm -f /usr/sbin/policy-rc.d
    quiet=
    trap - EXIT
    if [ ${#quieted[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
        as_root systemctl --quiet disable "${quieted[@]}" 2>/dev/null || true
    fi
}

# The settings: the environment first, then WEBVIRT_HOME/webvirt.env (KEY=VALUE lines, as systemd reads them).
load_settings() {
    export WEBVIRT_HOME=${WEBVIRT_HOME:-$project/var}
    [[ $WEBVIRT_HOME == /* ]] || WEBVIRT_HOME=$PWD/$WEBVIRT_HOME
    [[ $WEBVIRT_HOME =~ ^[A-Za-z0-9/._-]+$ && ${#WEBVIRT_HOME} -le 80 ]] ||
        stop "WEBVIRT_HOME ($WEBVIRT_HOME) must be a path of letters, digits and ._- of 80 characters at most."
    local line
    if [ -e "$WEBVIRT_HOME/webvirt.env" ]; then
        while IFS= read -r line || [ -n "$line" ]; do
            [[ $line =~ ^([A-Z][A-Z0-9_]*)=(.*)$ ]] || continue
            [ -n "${!BASH_REMATCH[1]+set}" ] || export "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"
        done <"$WEBVIRT_HOME/webvirt.env"
    fi
    export WEBVIRT_BIND=${WEBVIRT_BIND:-127.0.0.1} WEBVIRT_PORT=${WEBVIRT_PORT:-8000}
    export PATH=$WEBVIRT_HOME/venv/bin:$PATH:/usr/sbin:/sbin
    export DJANGO_SETTINGS_MODULE=webvirt.settings PYTHONUNBUFFERED=1
    # Many threads that each keep their own heap cost memory and win nothing here.
    export MALLOC_ARENA_MAX=2
    cd "$project"
}

# State and secrets, for this user's eyes alone.
make_home() {
    umask 077
    mkdir -p "$WEBVIRT_HOME/run" 2>/dev/null || stop "cannot write to $WEBVIRT_HOME: whose is it?"
    [ -O "$WEBVIRT_HOME" ] || stop "$WEBVIRT_HOME belongs to another user: start as that one, or set WEBVIRT_HOME."
    chmod go= "$WEBVIRT_HOME"
    [ -s "$WEBVIRT_HOME/secret_key" ] ||
        head -c 60 /dev/urandom | base64 -w 0 | tr '+/' '-_' >"$WEBVIRT_HOME/secret_key"
}

# fingerprint FILE...: what a stamp remembers.
fingerprint() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

# make_environment [test]: the pinned packages; made anew when what is pinned changed.
make_environment() {
    local venv=$WEBVIRT_HOME/venv wanted
    wanted=$(python3 -V; fingerprint requirements.txt)
    if [ "$(cat "$venv/.run" 2>/dev/null)" != "$wanted" ]; then
        say "Making the Python environment in $venv (once; a minute or two)"
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r requirements.txt
        "$venv/bin/pip" --disable-pip-version-check check >&2
        printf '%s' "$wanted" >"$venv/.run"
    fi
    [ "${1:-}" = test ] || return 0
    wanted=$(fingerprint tests/requirements.txt)
    if [ "$(cat "$venv/.test" 2>/dev/null)" != "$wanted" ]; then
        say "Adding the packages of the tests"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r tests/requirements.txt
        printf '%s' "$wanted" >"$venv/.test"
    fi
}

# Translations as gettext reads them, beside their sources.
make_translations() {
    local po
    for po in webvirt/locale/*/LC_MESSAGES/*.po; do
        [ -e "$po" ] && [ ! "${po%.po}.mo" -nt "$po" ] || continue
        (umask 022 && msgfmt --check-format -o "${po%.po}.mo" "$po")
    done
}

# The front-end packages, and every static file under a name with its hash.
make_static() {
    local stamp=$WEBVIRT_HOME/static/.made wanted
    deploy/front
    wanted=$(find static "$WEBVIRT_HOME/front" requirements.txt -type f -printf '%p %s %T@\n' | sort | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    python manage.py collectstatic --clear --noinput --verbosity 0
    printf '%s' "$wanted" >"$stamp"
}

# pids_of NAME...: the processes of these names, one a line.
pids_of() {
    local comm name
    for comm in /proc/[0-9]*/comm; do
        read -r name 2>/dev/null <"$comm" || continue
        [[ " $* " != *" $name "* ]] || basename "${comm%/comm}"
    done
}

# libvirtd, where no init system starts it. It stays when we end, since it looks after the guests.
start_libvirtd() {
    [ ! -d /run/systemd/system ] && command -v libvirtd >/dev/null || return 0
    ! virsh -q -c qemu:///system version >/dev/null 2>&1 || return 0
    say "Starting libvirtd, since no init system does here; it keeps running when webvirt ends"
    # What udev would do. Where QEMU's account cannot open it, libvirt asks QEMU for its abilities anew at every call.
    if [ -c /dev/kvm ] && getent group kvm >/dev/null; then
        as_root chgrp kvm /dev/kvm && as_root chmod 660 /dev/kvm
    fi
    # Not with our own umask: QEMU, which runs as somebody else, must get at what libvirtd makes for it.
    [ -n "$(pids_of virtlogd)" ] || (umask 022 && as_root virtlogd -d)
    [ -n "$(pids_of libvirtd)" ] || (umask 022 && as_root libvirtd -d)
    local try
    for try in $(seq 50); do
        ! virsh -q -c qemu:///system version >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    say "libvirtd does not answer (tried $try times): see its log; webvirt starts all the same"
}
