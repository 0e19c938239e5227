"""Pull workers: who they are, whether they live, which of them gets a job. ``storage.workers`` keeps them."""
