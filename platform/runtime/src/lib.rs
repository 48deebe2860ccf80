//! cameo-runtime
