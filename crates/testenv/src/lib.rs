//! Virtual hardware: machines with disks, network cards and a Redfish BMC each, and the wires between them. It knows nothing of clouds.
