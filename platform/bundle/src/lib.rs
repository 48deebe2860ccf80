//! cameo-bundle
