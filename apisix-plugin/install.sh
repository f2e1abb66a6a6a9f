#!/usr/bin/env bash
# Installs resty-wasm into an Apache APISIX, checks it there, and takes it out again: --help says how.
set -euo pipefail

usage() {
  cat <<'END'
install.sh [--apisix-home DIR] [--openresty DIR] [--check | --uninstall | --without-directive-module]

Puts resty-wasm into DIR/deps of an Apache APISIX, and says what its conf/config.yaml needs.

  --apisix-home DIR            where APISIX is; default /usr/local/apisix
  --openresty DIR              its OpenResty; default that of the openresty in PATH
  --check                      changes nothing and says what is there and what is missing; exits with 0 when nothing is
  --uninstall                  removes what was installed
  --without-directive-module   on stock OpenResty: APISIX's template loses the directive wasm_vm, instead of a module that nginx loads
END
}

die() { echo "install.sh: $*" >&2; exit 1; }
misused() { echo "install.sh: $*; --help says more" >&2; exit 2; }

# What there is to install: around this file where it was unpacked or installed, else what `make dist` has laid out.
here=$(cd "$(dirname "$0")" && pwd)
payload=$(cd "$here/.." && pwd)/target/apisix
[ ! -f "$here/MANIFEST" ] || payload=$(cd "$here/../.." && pwd)
own=share/resty-wasm
manifest=$own/MANIFEST
shadow=share/lua/5.1/apisix/cli/ngx_tpl.lua

home=/usr/local/apisix
[ "${payload##*/}" != deps ] || home=${payload%/deps}
openresty=
action=

# act NAME: what is to be done, said once.
act() { [ -z "$action" ] || misused "--$action and --$1 exclude each other"; action=$1; }

# Options that take a directory.
directory() { [ "${2:-}" ] || misused "$1 needs a directory"; [ -d "$2" ] || die "$1 $2: there is no such directory"; }

while [ $# -gt 0 ]; do
  case $1 in
    --apisix-home) directory "$@"; home=$(cd "$2" && pwd); shift ;;
    --openresty) directory "$@"; openresty=$(cd "$2" && pwd); shift ;;
    --check | --uninstall | --without-directive-module) act "${1#--}" ;;
    --help) usage; exit ;;
    *) misused "unknown option '$1'" ;;
  esac
  shift
done

temporary=$(mktemp -d)
parts=()
trap 'remove ${parts[@]+"${parts[@]}"}; rm -rf "$temporary"' EXIT
deps=$home/deps
conf=$home/conf/nginx.conf

# ---- APISIX and its nginx -------------------------------------------------------------------

# Prints APISIX's version: its Lua files are in its home, or, after its own `make install`, among everybody's.
apisix_version() {
  local file places=("$home")
  [ ! -f "$home/conf/config.yaml" ] || places+=(/usr/share/lua/5.1 /usr/local/share/lua/5.1)
  for file in "${places[@]/%//apisix/core/version.lua}"; do
    [ ! -f "$file" ] || { sed -n 's/.*VERSION *= *"\(.*\)".*/\1/p' "$file"; return; }
  done
  die "--apisix-home $home: no Apache APISIX is there, which would have apisix/core/version.lua"
}

find_nginx() {
  local file
  if [ "$openresty" ]; then
    for file in "$openresty/bin/openresty" "$openresty/nginx/sbin/nginx"; do
      [ ! -x "$file" ] || { echo "$file"; return; }
    done
    die "--openresty $openresty: no OpenResty is there, which would have bin/openresty or nginx/sbin/nginx"
  fi
  command -v openresty || command -v /usr/local/openresty/bin/openresty ||
    die "there is no openresty in PATH: say with --openresty DIR where it is"
}

# The user that nginx's workers run as.
worker_user() {
  local user=
  [ "$(id -u)" = 0 ] || { id -u; return; }
  [ ! -r "$conf" ] || user=$(sed -n 's/^ *user  *\([^ ;]*\).*/\1/p' "$conf" | head -1)
  [ "$user" ] || user=$(sed -n 's/.*--user=\([^ ]*\).*/\1/p' <<<"$about_nginx" | head -1)
  echo "${user:-nobody}"
}

# probe PATH CPATH MODULE: starts this nginx on probe.lua, with these Lua paths and, if there is one, the module that has wasm_vm. What it
# says is kept for `said`.
probe() {
  local load='' directive=''
  [ -z "$3" ] || load="load_module $3;" directive="wasm_vm wasmtime;"
  mkdir -p "$temporary/logs"
  cat >"$temporary/nginx.conf" <<END
$load
daemon off;
master_process off;
pid $temporary/nginx.pid;
error_log $temporary/error.log;
env PROBE_UID;
env PROBE_GID;
env PROBE_HOOK;
env PROBE_FILES;
events {}
http {
    $directive
    access_log off;
$(temp_paths)
    lua_package_path "$1";
    lua_package_cpath "$2";
    init_by_lua_file $temporary/probe.lua;
}
END
  cp "$here/probe.lua" "$temporary/probe.lua"
  (cd "$temporary" && "$nginx" -p "$temporary/" -c "$temporary/nginx.conf") >"$temporary/said" 2>"$temporary/stderr" ||
    echo "failed nginx ended with status $?: $(cat "$temporary/stderr" "$temporary/error.log" 2>/dev/null | tail -1)" >>"$temporary/said"
}

# Where this nginx has been told to put temporary files, which would change the owner of what is there.
temp_paths() {
  local name
  for name in client-body proxy fastcgi uwsgi scgi; do
    case $about_nginx in *--http-$name-temp-path=*) echo "    ${name//-/_}_temp_path $temporary/$name;" ;; esac
  done
}

# module_to_load DIRECTORY: the module that this nginx needs for wasm_vm, if it is there.
module_to_load() { [ "$runtime" = yes ] || [ ! -f "$1/$module" ] || echo "$1/$module"; }

# said WORD: what the probe said of it.
said() { sed -n "s/^$1 //p" "$temporary/said"; }

# ---- what is and will be installed ----------------------------------------------------------

# files MANIFEST: the files it names.
files() { [ ! -f "$1" ] || cut -c 67- "$1"; }

# source_of FILE: where the payload has it.
source_of() {
  case $1 in
    "$shadow") echo "$payload/$own/cli-shadow/apisix/cli/ngx_tpl.lua" ;;
    *) echo "$payload/$1" ;;
  esac
}

# Writes the manifest of what this run installs.
plan() {
  grep -v " $shadow\$" "$payload/$manifest" >"$temporary/manifest"
  [ "$action" != without-directive-module ] ||
    (cd "$payload/$own/cli-shadow" && sha256sum apisix/cli/ngx_tpl.lua) | sed "s|  .*|  $shadow|" >>"$temporary/manifest"
}

# existing DIRECTORY: it, or the first above it that is there.
existing() {
  local directory=$1
  until [ -e "$directory" ]; do directory=${directory%/*}; done
  echo "$directory"
}

# Dies unless files can be put into, and taken out of, the directories of these.
require_writable() {
  local file directory
  for file in "$@"; do
    directory=$(existing "$deps/$(dirname "$file")")
    [ -d "$directory" ] || die "$directory is in the way: it is no directory"
    { [ -w "$directory" ] && [ -x "$directory" ]; } ||
      die "$(id -un 2>/dev/null || id -u) may not write into $directory, which is $(stat -c %U "$directory")'s; nothing was changed"
  done
}

# Dies when somebody else's file is where one of these goes.
require_free() {
  local file
  for file in "$@"; do
    [ -e "$deps/$file" ] || continue
    grep -qxF -- "$file" "$temporary/installed" || cmp -s "$(source_of "$file")" "$deps/$file" ||
      die "$deps/$file is there and not of resty-wasm: move it away; nothing was changed"
  done
}

# The directories that the files leave empty go with them.
remove() {
  local file directory
  for file in "$@"; do
    rm -f "$deps/$file"
    directory=$(dirname "$file")
    while [ "$directory" != . ] && rmdir "$deps/$directory" 2>/dev/null; do directory=$(dirname "$directory"); done
  done
}

# put_part SOURCE FILE: a copy beside its place, which goes again unless it is moved there.
put_part() {
  local mode=644
  [ ! -x "$1" ] || mode=755
  (umask 022 && mkdir -p "$(dirname "$deps/$2")")
  parts+=("$2.part")
  install -m "$mode" "$1" "$deps/$2.part"
}

# ---- the three things to do -----------------------------------------------------------------

install_files() {
  local file planned stale
  [ -f "$payload/$manifest" ] || die "there is nothing to install in $payload: 'make dist' puts it there"
  (cd "$payload" && sha256sum --check --quiet "$manifest") >"$temporary/damaged" 2>&1 ||
    die "$payload is incomplete: $(head -1 "$temporary/damaged")"
  [ "$action" != without-directive-module ] || [ "$runtime" = no ] ||
    die "--without-directive-module is for stock OpenResty: $nginx has wasm-nginx-module, and the directive with it"
  probe "$payload/share/lua/5.1/?.lua;;" "$payload/lib/lua/5.1/?.so;;" "$(module_to_load "$payload")"
  [ -z "$(said failed)" ] || die "$nginx can't run resty-wasm, nothing was changed: $(said failed | head -1)"

  plan
  mapfile -t planned < <(files "$temporary/manifest")
  mapfile -t stale < <(grep -vxF -f <(files "$temporary/manifest") "$temporary/installed")
  if cmp -s "$temporary/manifest" "$deps/$manifest" && intact; then
    echo "resty-wasm $version is in $deps already; nothing was changed."
    return
  fi
  require_free "${planned[@]}"
  require_writable "${planned[@]}" "$manifest" ${stale[@]+"${stale[@]}"}
  for file in "${planned[@]}"; do put_part "$(source_of "$file")" "$file"; done
  put_part "$temporary/manifest" "$manifest"
  for file in "${planned[@]}" "$manifest"; do mv -f "$deps/$file.part" "$deps/$file"; done
  remove ${stale[@]+"${stale[@]}"}
  echo "resty-wasm $version is now in $deps."
}

# Whether all files are as they were installed.
intact() { (cd "$deps" && sha256sum --check --quiet "$manifest") >"$temporary/damaged" 2>&1; }

say_what_is_next() {
  if [ "$runtime" = yes ]; then
    echo "Nothing in conf/config.yaml has to change. With these lines in it, plugins share data between workers:"
  else
    echo "$nginx is stock OpenResty: put these lines into $home/conf/config.yaml."
  fi
  echo
  cat "$here/config/$config"
  echo
  echo "Then: apisix reload, or apisix start. Whether all is well says $deps/$own/install.sh --check${openresty:+ --openresty $openresty}"
  if [ "$runtime" = no ] && too_new; then
    echo "APISIX $apisix needs APISIX-Runtime: stock OpenResty is for APISIX up to 3.14."
  fi
}

# From 3.15 on APISIX needs modules that stock OpenResty does not have.
too_new() { [ "$(printf '3.15\n%s\n' "$apisix" | sort -V | head -1)" = 3.15 ]; }

uninstall() {
  local installed
  mapfile -t installed <"$temporary/installed"
  [ ${#installed[@]} -gt 0 ] || die "resty-wasm is not installed in $home: there is no deps/$manifest"
  require_writable "${installed[@]}" "$manifest"
  remove "${installed[@]}" "$manifest"
  echo "resty-wasm is no longer in $deps. Before apisix reload, take out of $home/conf/config.yaml what may be there of it:"
  echo "load_module deps/$module, lua_module_hook resty.wasm.apisix_hook, custom_lua_shared_dict resty_wasm."
}

ok() { printf 'ok       %s\n' "$*"; }
note() { printf 'note     %s\n' "$*"; }
missing() { printf 'missing  %s\n' "$*"; problems=$((problems + 1)); }

# rendered DIRECTIVE: its argument in the last http block of the nginx.conf that APISIX has written.
rendered() { [ ! -r "$conf" ] || sed -n "s|^ *$1  *\"\(.*\)\";.*|\1|p" "$conf" | tail -1; }

# The .wasm files of config.yaml with a full path, a line each.
plugin_files() {
  local config_yaml=$home/conf/config.yaml
  [ ! -r "$config_yaml" ] || awk '/^[^ #-]/ { wasm = /^wasm:/ } wasm' "$config_yaml" |
    sed -n "s/^[ -]*file: *[\"']\{0,1\}\(\/[^\"' #]*\).*/\1/p"
}

check() {
  local path cpath user
  problems=0
  ok "Apache APISIX $apisix in $home"
  user=$(worker_user)
  path=$(rendered lua_package_path) cpath=$(rendered lua_package_cpath)
  : "${path:=\$prefix/deps/share/lua/5.1/?.lua;\$prefix/deps/share/lua/5.1/?/init.lua;$home/?.lua;;}"
  : "${cpath:=\$prefix/deps/lib64/lua/5.1/?.so;\$prefix/deps/lib/lua/5.1/?.so;;}"
  export PROBE_HOOK PROBE_FILES
  PROBE_HOOK=$([ ! -r "$conf" ] || sed -n 's/^ *require "\(.*\)" *$/\1/p' "$conf" | grep -vx resty.core | tail -1 || true)
  PROBE_FILES=$(plugin_files; sed "s|^|$deps/|" "$temporary/installed")
  if [ "$(id -u)" = 0 ]; then
    export PROBE_UID PROBE_GID
    { PROBE_UID=$(id -u "$user") && PROBE_GID=$(id -g "$user"); } 2>/dev/null || die "nginx's workers run as $user, but there is no such user"
  fi
  probe "${path//\$prefix/$home}" "${cpath//\$prefix/$home}" "$(module_to_load "$deps")"
  check_nginx
  check_files "$user"
  check_conf
  echo
  [ "$problems" = 0 ] || { echo "$problems missing"; return 1; }
  echo "all is well"
}

# Whether APISIX's template was installed that has no directive wasm_vm.
has_shadow() { grep -qxF "$shadow" "$temporary/installed"; }

check_nginx() {
  local versions
  versions="nginx $(said nginx), ngx_lua $(said ngx_lua), $(said luajit)"
  if [ -z "$(said nginx)" ]; then
    missing "$nginx with ngx_lua: $(said failed)"
  elif [ "$runtime" = yes ]; then
    ok "$nginx: $versions, with wasm-nginx-module"
  else
    ok "$nginx: $versions, stock OpenResty"
    ! too_new || missing "APISIX-Runtime, which APISIX $apisix needs: stock OpenResty is for APISIX up to 3.14"
  fi
}

# check_files USER
check_files() {
  local name expected found
  if [ ! -s "$temporary/installed" ]; then
    missing "resty-wasm: it is not installed in $deps"
    [ -z "$(said nginx)" ] || note "require(\"resty.proxy-wasm\") gets $(said resty.proxy-wasm)"
    return
  elif intact; then
    ok "resty-wasm $(sed -n 's/^version //p' "$deps/$own/VERSION") in $deps"
  else
    missing "files in $deps as they were installed: $(head -1 "$temporary/damaged")"
  fi
  [ "$(said nginx)" ] || return 0

  for name in resty.proxy-wasm resty.wasm; do
    expected=$deps/share/lua/5.1/${name//.//}.lua found=$(said "$name")
    if [ "$found" = "$expected" ]; then
      ok "require(\"$name\") gets $found"
    else
      missing "require(\"$name\") gets $found, not $expected"
    fi
  done
  expected=$deps/lib/lua/5.1/resty/wasm/native.so found=$(said native)
  if [ "$(said failed)" ]; then
    missing "the library, opened by the user $1: $(said failed)"
  elif [ "$found" = "$expected" ]; then
    ok "the user $1 can open $found"
  else
    missing "$expected: $found comes before it"
  fi
  while read -r name; do missing "a file that the user $1 can read: $name"; done < <(said unreadable)
}

check_conf() {
  if [ ! -r "$conf" ]; then
    if [ "$runtime" = yes ]; then
      note "conf/nginx.conf is not there yet; 'apisix init' writes it from conf/config.yaml"
    else
      missing "conf/nginx.conf, which 'apisix init' writes from conf/config.yaml"
    fi
    return
  fi
  [ "$runtime" = yes ] || check_directive
  case $(said hook) in
    there) ok "conf/nginx.conf runs resty.wasm.apisix_hook" ;;
    missing) missing "in conf/nginx.conf: resty.wasm.apisix_hook, which this OpenResty needs; see $config" ;;
  esac
  if grep -q '^ *lua_shared_dict  *resty_wasm ' "$conf"; then
    ok "conf/nginx.conf has lua_shared_dict resty_wasm"
  else
    note "conf/nginx.conf has no lua_shared_dict resty_wasm: each worker keeps its own shared data, queues and metrics; see $config"
  fi
}

check_directive() {
  if has_shadow; then
    if grep -q '^ *wasm_vm ' "$conf"; then
      missing "conf/nginx.conf without the directive wasm_vm: 'apisix init' writes it anew"
    else
      ok "conf/nginx.conf has no directive wasm_vm"
    fi
  elif grep -q "^ *load_module .*${module##*/};" "$conf"; then
    ok "conf/nginx.conf loads ${module##*/}"
  else
    missing "in conf/nginx.conf: load_module deps/$module; see $config"
  fi
}

apisix=$(apisix_version)
module=lib/resty-wasm/ngx_http_wasm_vm_module.so
files "$deps/$manifest" >"$temporary/installed"
[ "$action" != uninstall ] || { uninstall; exit; }

nginx=$(find_nginx)
about_nginx=$("$nginx" -V 2>&1) || die "$nginx -V failed: $(tail -1 <<<"$about_nginx")"
runtime=no config=stock-openresty.yaml
case $about_nginx in *wasm-nginx-module*) runtime=yes config=apisix-runtime.yaml ;; esac
if [ "$action" = without-directive-module ] || { [ "$action" = check ] && has_shadow; }; then
  config=stock-openresty-without-directive-module.yaml
fi
[ "$action" != check ] || { check; exit; }

version=$(sed -n 's/^version //p' "$payload/$own/VERSION" 2>/dev/null || true)
install_files
say_what_is_next
