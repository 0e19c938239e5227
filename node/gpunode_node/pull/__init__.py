"""The pull worker: a node that fetches its jobs from the tracker by HTTPS and needs no mesh."""
