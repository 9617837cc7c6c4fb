//! Power, boot device, virtual media and inventory of a machine over Redfish.
