//! cameo-store
