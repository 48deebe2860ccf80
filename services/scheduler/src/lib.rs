//! cameo-scheduler
