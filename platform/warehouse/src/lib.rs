//! cameo-warehouse
