//! cameo-batch
