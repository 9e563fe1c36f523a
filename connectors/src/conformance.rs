//! What every connector must do, as functions that its tests call.
