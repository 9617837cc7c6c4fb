//! The cloud over bare metal: what every driver must do, and what only this one does.

mod choosing;
mod contract;
mod dhcp;
mod setting;
