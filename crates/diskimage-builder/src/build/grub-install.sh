#!/bin/sh
# Stands before the image's grub-install where the kernel has no FAT: there an ESP is a folder in memory, which
# grub-install refuses. For UEFI it does what grub-install does, with the image's own GRUB; all else is passed on.
set -eu
target=
for argument; do
    case $argument in
        --target=*-efi) target=${argument#--target=} ;;
    esac
done
if [ -z "$target" ]; then
    for real in /usr/sbin/grub-install /usr/bin/grub-install; do
        [ ! -x "$real" ] || exec "$real" "$@"
    done
    echo "grub-install: the image has none" >&2
    exit 127
fi
case $target in
    x86_64-efi) name=BOOTX64.EFI ;;
    arm64-efi) name=BOOTAA64.EFI ;;
    *) echo "grub-install: $target is not supported without FAT in the kernel" >&2; exit 1 ;;
esac
echo "Installing for $target platform (ESP without FAT in the kernel)."
mkdir -p "/boot/grub/$target" /boot/efi/EFI/BOOT
cp "/usr/lib/grub/$target"/*.mod "/usr/lib/grub/$target"/*.lst "/boot/grub/$target/"
early=$(mktemp)
trap 'rm -f "$early"' EXIT
case "|$DIB_MOUNTPOINTS|" in
    *"|/boot|"*) label=$DIB_BOOT_LABEL prefix=/grub ;;
    *) label=$DIB_ROOT_LABEL prefix=/boot/grub ;;
esac
printf 'search --no-floppy --set=root --label %s\nset prefix=($root)%s\n' "$label" "$prefix" >"$early"
grub-mkimage -O "$target" -p "$prefix" -c "$early" -o "/boot/efi/EFI/BOOT/$name" \
    part_gpt part_msdos fat ext2 xfs btrfs lvm search search_label configfile normal linux test echo
echo "Installation finished. No error reported."
