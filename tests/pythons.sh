#!/usr/bin/env bash
# Install requirements-dev.txt and run the unit and DAG tests on every supported Python that this machine has.
#   tests/pythons.sh [3.12 3.13 …]      default: 3.11 3.12 3.13
# Environments are kept in .local/pythons. A version that the machine does not have is named; none at all is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -x .venv/bin/uv ]; then uv=.venv/bin/uv; else uv=uv; fi
versions=("${@:-3.11 3.12 3.13}")
read -r -a versions <<<"${versions[*]}"

# uv looks on PATH; a pyenv's versions stand beside each other.
find_python() {
  local found
  for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "$(command -v "python$1" || true)"; do
    if [ -x "$found" ] && "$found" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      echo "$found"
      return
    fi
  done
}

tested=() absent=() failed=()
for version in "${versions[@]}"; do
  python="$(find_python "$version")"
  if [ -z "$python" ]; then
    absent+=("$version")
    continue
  fi
  home=".local/pythons/$version"
  echo "== Python $version"
  if "$uv" venv --quiet --allow-existing --python "$python" "$home" &&
    "$uv" pip sync --quiet --python "$home/bin/python" requirements-dev.txt &&
    AIRFLOW_HOME="$PWD/$home/airflow" "$home/bin/python" -m pytest tests/unit tests/dags --quiet -p no:cacheprovider; then
    tested+=("$version")
  else
    failed+=("$version")
  fi
done

echo "tested: ${tested[*]:-none}   failed: ${failed[*]:-none}   not on this machine: ${absent[*]:-none}"
[ ${#failed[@]} -eq 0 ] && [ ${#tested[@]} -gt 0 ]
