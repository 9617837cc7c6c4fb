//! Volumes.

use super::{TypeSchema, boolean, empty_map, integer, map, text};
use crate::schema::PropertyKind;

pub(super) fn rows() -> Vec<TypeSchema> {
    let mut volume = TypeSchema::new("OS::Cinder::Volume", "A volume.")
        .properties([
            ("availability_zone", text().about("The availability zone in which the volume will be created.")),
            ("size", integer().updatable().range(Some(1), None).about("The size of the volume in GB.")),
            ("snapshot_id", text().custom("cinder.snapshot").about("If specified, the snapshot to create the volume from.")),
            ("backup_id", text().updatable().custom("cinder.backup").about("If specified, the backup to create the volume from.")),
            ("name", text().updatable().about("A name used to distinguish the volume.")),
            ("description", text().updatable().about("A description of the volume.")),
            ("volume_type", text().updatable().custom("cinder.vtype").about("If specified, the type of volume to use.")),
            ("metadata", map().or(empty_map()).updatable().about("Key/value pairs to associate with the volume.")),
            ("image", text().custom("glance.image").about("If specified, the name or ID of the image to create the volume from.")),
            ("source_volid", text().custom("cinder.volume").about("If specified, the volume to use as source.")),
            ("scheduler_hints", map().about("Arbitrary key-value pairs specified by the client to help the Cinder scheduler creating a volume.")),
            ("read_only", boolean().updatable().about("Enables or disables read-only access mode of volume.")),
        ])
        .attributes([
            ("size", PropertyKind::String, "The size of the volume in GB."),
            ("status", PropertyKind::String, "The current status of the volume."),
            ("volume_type", PropertyKind::String, "The type of the volume mapping to a backend, if any."),
            ("metadata", PropertyKind::String, "Key/value pairs associated with the volume."),
            ("attachments_list", PropertyKind::List, "The list of attachments of the volume."),
        ])
        .shown();
    volume.snapshots = true;
    vec![volume]
}
