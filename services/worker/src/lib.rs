//! cameo-worker
