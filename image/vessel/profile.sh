# /etc/profile has just replaced PATH: login shells get the container's environment back.
if [ -r /run/drc/env.sh ]; then . /run/drc/env.sh; fi
