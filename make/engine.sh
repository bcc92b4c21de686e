#!/bin/sh
# Builds the pulumi program from Go modules into a folder, unless it is there already.
# usage: sh make/engine.sh FOLDER
# Only the tests want this: on a user's computer it is Pulumi's own release.
set -eu
case $1 in
  /*) folder=$1 ;;
  *) folder=$PWD/$1 ;;
esac
cd "$(dirname "$0")/engine"
module=github.com/pulumi/pulumi

[ ! -x "$folder/pulumi" ] || exit 0
command -v go >/dev/null 2>&1 || {
  echo "Go 1.26 or newer is needed to build the engine for the tests: https://go.dev/doc/install" >&2
  exit 4
}
version=$(awk -v module="$module/pkg/v3" '$1 == module { print $2 }' go.mod)
mkdir -p "$folder"
# The automation API refuses a program without a version, and only the linker knows it.
# Under another name until it is whole, so that a killed build is no program.
GOFLAGS=-mod=readonly go build -tags osusergo,grpcnotrace \
  -ldflags "-s -w -X $module/sdk/v3/go/common/version.Version=$version" \
  -o "$folder/pulumi.$$" "$module/pkg/v3/cmd/pulumi"
mv "$folder/pulumi.$$" "$folder/pulumi"
