//! Disks that can be full, or lose what was not synced.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::io::Errno;
use xshell::{Shell, cmd};

use crate::workspace;

/// Enough for a run, and filled at once.
const SMALL: &str = "size=192m";

/// How large the disk is that loses its power; its image has holes where nothing was written.
const IMAGE_BYTES: u64 = 1 << 30;

/// A mounted disk; it is unmounted when it is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    place: PathBuf,
    /// The file that the disk is in, if it is not in memory.
    image: Option<PathBuf>,
}

impl Disk {
    /// One in memory, with little room.
    pub(super) fn small(place: &Path) -> Result<Self> {
        fs::create_dir_all(place)?;
        let shell = workspace::shell()?;
        cmd!(shell, "mount -t tmpfs -o {SMALL} gradient-faults {place}").quiet().run()?;
        Ok(Self { place: place.to_path_buf(), image: None })
    }

    /// One whose power can fail. What nobody syncs stays in the machine's memory for minutes.
    pub(super) fn powered(place: &Path, image: &Path) -> Result<Self> {
        fs::create_dir_all(place)?;
        fs::File::create(image)?.set_len(IMAGE_BYTES)?;
        let shell = workspace::shell()?;
        cmd!(shell, "mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 {image}").quiet().run()?;
        mount_image(&shell, image, place)?;
        Ok(Self { place: place.to_path_buf(), image: Some(image.to_path_buf()) })
    }

    /// Sees to it that everything on it has reached the device, as on a disk that was used for a while.
    pub(super) fn sync(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(fs::File::open(&self.place)?)?)
    }

    /// Takes all room that is left, until the file is removed that it returns.
    pub(super) fn fill(&self) -> Result<PathBuf> {
        let ballast = self.place.join("ballast");
        let (mut file, zeros) = (fs::File::create(&ballast)?, vec![0; 64 << 10]);
        loop {
            match file.write_all(&zeros) {
                Ok(()) => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSPC) => return Ok(ballast),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the disk the contents that it would have after a power loss at this moment: what has reached the device, and nothing
    /// that only the file system's memory has. Nobody may use the disk.
    pub(super) fn lose_power(&mut self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let (shell, place) = (workspace::shell()?, &self.place);
        let after = image.with_extension("after");
        cmd!(shell, "cp --sparse=always {image} {after}").quiet().run()?;
        cmd!(shell, "umount {place}").quiet().run()?;
        fs::rename(&after, image)?;
        mount_image(&shell, image, place)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let place = &self.place;
        // Whoever still uses it has been told to end.
        if let Ok(shell) = workspace::shell() {
            let _ = cmd!(shell, "umount --lazy {place}").quiet().run();
        }
    }
}

fn mount_image(shell: &Shell, image: &Path, place: &Path) -> Result<()> {
    Ok(cmd!(shell, "mount -o loop,commit=300,noauto_da_alloc {image} {place}").quiet().run()?)
}
