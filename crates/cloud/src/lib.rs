//! The trait that the engine sees of a cloud, its plain types, its error, and the contract test of every driver.
