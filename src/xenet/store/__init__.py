"""Where the pool's state is kept: `memory` (tests, labs that may be forgotten), `sqlite` (the embedded default). `base` says what a store is."""
