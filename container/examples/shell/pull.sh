#!/bin/sh
# Pull the results of a route, and run a command for each with the document on its standard input:
#
#   pull.sh ROUTE COMMAND [ARGUMENT...]
#
# Exit code 0 of the command: done; 65: it can never succeed (a dead letter); any other: it is retried. The same document
# may come again, with the same .key: the command's effect must happen once for each key. Needs curl and jq.
#
#   LISTENER_SOCKET      the path in http.listen = "unix:/path", or else
#   LISTENER_URL         http.listen as a URL, e.g. http://127.0.0.1:8471
#   LISTENER_TOKEN_FILE  a file with one token; not needed at a socket
#   LEASE                seconds within which the command ends; 60 if not set
set -u
[ $# -ge 2 ] || {
    echo "usage: pull.sh ROUTE COMMAND [ARGUMENT...]" >&2
    exit 2
}
route=$1
shift
lease=${LEASE:-60}
url=${LISTENER_URL:-http://localhost}

# The token goes through a pipe, so that no list of processes shows it.
call() {
    if [ -n "${LISTENER_TOKEN_FILE:-}" ]; then
        printf 'authorization: Bearer %s\n' "$(cat "$LISTENER_TOKEN_FILE")"
    fi | curl --silent --show-error --max-time 60 --header @- --header 'content-type: application/json' \
        ${LISTENER_SOCKET:+--unix-socket "$LISTENER_SOCKET"} "$@"
}

# Repeated until it is answered, which is safe: 409 says that another attempt has the delivery by now.
settle() {
    until status=$(call --output /dev/null --write-out '%{http_code}' --data "$2" "$url/v1/deliveries/$1") &&
        [ "$status" != 503 ]; do
        sleep 1
    done
    [ "$status" -eq 200 ] || echo "delivery $1: HTTP status $status" >&2
}

handle() {
    id=$(printf '%s' "$document" | jq .delivery)
    attempt=$(printf '%s' "$document" | jq .attempt)
    printf '%s\n' "$document" | "$@"
    case $? in
        0) action=done ;;
        65) action=reject ;;
        *) action=retry ;;
    esac
    settle "$id" "{\"action\": \"$action\", \"attempt\": $attempt, \"reason\": \"see the log of pull.sh\"}"
}

while :; do
    claimed=$(call --fail --request POST "$url/v1/routes/$route/claim?wait=30&client=pull.sh&lease=$lease") || {
        sleep 1
        continue
    }
    document=$(printf '%s' "$claimed" | jq --compact-output '.deliveries[0] // empty')
    [ -z "$document" ] || handle "$@"
done
