//! cameo-mirror
