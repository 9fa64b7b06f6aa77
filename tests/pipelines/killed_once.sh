#!/bin/bash
# Stands for gfe where a share is killed at its first attempt, once something of it is committed: KILLED names the share,
# MARK a file that tells that it happened.
set -u
if [[ " $* " == *" --shard $KILLED "* && ! -e $MARK ]]; then
    "$GFE" "$@" --shard-rows 50 &
    until ls "$PARTS"/rows-000000000500-* >/dev/null 2>&1 || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
    kill -KILL $! && touch "$MARK"
    wait $! 2>/dev/null
    exit $?
fi
exec "$GFE" "$@"
