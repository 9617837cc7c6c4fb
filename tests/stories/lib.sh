# Sourced by the stories: a network namespace of their own, and what must be as it was when they are over.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=$ROOT/target/ci
STATE=${STORY_STATE:-$ROOT/target/check/story}
# The quick size, unless a story names another one.
export TRIPLEO_SIZE=hello
export TRIPLEO_STATE=$STATE OS_CLIENT_CONFIG_FILE=$STATE/seed/clouds.yaml
VENV=$ROOT/target/check/venv
PATH=$BIN:$VENV/bin:$PATH

story() { printf -- '-- %s\n' "$*"; }
broken() { printf 'story: %s\n' "$*" >&2; exit 1; }

# Everything on the host that a story could leave behind, one thing a line.
traces() {
  awk '{ print "mount", $5 }' /proc/self/mountinfo
  ip -o link show | awk -F': ' '{ print "link", $2 }'
  ip netns list | sed 's/^/netns /'
  losetup -a | sed 's/^/loop /'
  find /sys/fs/cgroup -maxdepth 3 -type d | sed 's/^/cgroup /'
  # Our servers and what they start carry the state directory in their arguments.
  { pgrep -af -- "$STATE/(seed|testenv)" || true; } | sed 's/^[0-9]* /process /'
}

# own_network COMMAND...: runs the story where nobody else's addresses are.
own_network() {
  unshare --net sh -c 'ip link set lo up; exec "$@"' sh "$@"
}

# outside COMMAND...: builds the image out here, as inside there is no mirror; runs the story in a network of its own, and wants the host
# to be as it was when it is over.
outside() {
  story "the image"
  tripleo devtest --build-only
  traces >"$ROOT/target/check/traces.before"
  own_network "$@"
  traces >"$ROOT/target/check/traces.after"
  diff "$ROOT/target/check/traces.before" "$ROOT/target/check/traces.after" >&2 || broken "the story left what the lines above show"
  story "nothing is left"
}

# page ADDRESS[/PATH]: a page of a machine.
page() { case $1 in */*) ;; *) set -- "$1/" ;; esac; curl -fsS --max-time 30 --retry 5 --retry-connrefused "http://$1"; }

# until_page ADDRESS TEXT: waits until the page shows the text; the deadline is far beyond what is wanted.
until_page() {
  local until=$((SECONDS + 120))
  while [ $SECONDS -lt $until ]; do
    case $(page "$1" 2>/dev/null) in *"$2"*) return 0 ;; esac
    sleep 0.05
  done
  broken "the page of $1 does not show \`$2\`; it shows: $(page "$1" 2>&1)"
}

output() { openstack --os-cloud seed stack output show -f json "$1" "$2" | python3 -c 'import json,sys; v=json.load(sys.stdin)["output_value"]; v=json.loads(v) if isinstance(v,str) and v[:1] in "[{" else v; print("\n".join(v) if isinstance(v,list) else v)'; }
