# Sourced by ./devtest and ./check: what both need to know of the host. Nothing here names a registry;
# packages come from the sources that the machine is set up with.

# What images, the lab and the seed call.
STORY_PACKAGES="ca-certificates debian-archive-keyring dnsmasq-base dosfstools e2fsprogs gcc grub-common grub-efi-amd64-bin
  grub-pc-bin iproute2 libc6-dev mmdebstrap mtools openssh-client procps python3 python3-venv qemu-utils systemd-container util-linux xz-utils zstd"
# What only tests call.
CHECK_PACKAGES="attr bash curl debootstrap file gdisk git libcap2-bin python3 python3-venv rsync squashfs-tools strace sudo time uidmap xfsprogs"

say() { printf '%s\n' "$*" >&2; }
fail() { say "$0: $*"; exit 1; }

need_root() {
  [ "$(id -u)" = 0 ] || fail "this needs root (it makes namespaces, mounts and network interfaces of its own); run it with sudo"
}

# shown LOG: on a terminal, the log's last line in place, until it is ended.
shown() {
  while sleep 1 && kill -0 $$ 2>/dev/null; do printf '\r\033[K  %.70s' "$(tail -n 1 "$1" 2>/dev/null)" >&2; done
}

# logged LOG COMMAND...: runs the command with its words in the log; on a terminal the last of them is shown meanwhile.
logged() {
  local log=$1 outcome=0 show=
  shift
  : >"$log"
  if [ -t 2 ]; then shown "$log" & show=$!; fi
  "$@" >"$log" 2>&1 || outcome=$?
  if [ -n "$show" ]; then kill "$show"; wait "$show" 2>/dev/null; printf '\r\033[K' >&2; fi
  return $outcome
}

# need_packages NAME...: installs those Debian packages that are not there.
need_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing with apt-get (log: $LOGS/apt.log): ${missing[*]}"
  logged "$LOGS/apt.log" install_packages "${missing[@]}" ||
    { tail -n 20 "$LOGS/apt.log" >&2; fail "apt-get failed; the whole log is $LOGS/apt.log"; }
}

install_packages() { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; }

# rust_suits: whether the host's toolchain can build this workspace; leaves what is wanted and what is there in `want` and `have`.
rust_suits() {
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  have=$(cargo --version 2>/dev/null | awk '{print $2}')
  [ -n "$have" ] && [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ]
}

# rust_packages: the distribution's newest toolchain, where the host has none that suits.
rust_packages() { rust_suits || printf '%s ' rustc-web cargo-web rustfmt-web rust-web-clippy; }

# need_rust: after need_packages with what rust_packages named.
need_rust() {
  hash -r
  rust_suits || fail "Rust $want or newer is needed, the host has ${have:-none} and its packages offer nothing newer; install a toolchain and run this again"
}

# build_first: the image builder and the static node binary, which is all that image builds need.
build_first() {
  cargo build --profile ci --locked -p diskimage-builder -p run-parts --bins || return
  # rustc's own flag only for this binary: RUSTFLAGS would rebuild every dependency and break build scripts.
  # Relocating itself would take the program two milliseconds at each start, and hooks start it often.
  cargo rustc --profile ci --locked -p node --bin node -- -C target-feature=+crt-static -C relocation-model=static || return
  # A later build of the tests writes an ordinary binary to the same place.
  install -D target/ci/node target/ci/static/node
}

build_rest() { cargo build --profile ci --locked --workspace --bins --exclude node; }
