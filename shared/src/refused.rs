//! Was it refused by this machine (no permission, no such facility, no room), or is it a mistake of ours?

use nix::errno::Errno;

/// Says why, if the error means that this machine refuses the resource; a demonstration then skips what needs it.
pub fn refused(error: &anyhow::Error) -> Option<String> {
    let code = error.chain().find_map(|cause| {
        let by_std = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        by_std.map(Errno::from_raw).or_else(|| cause.downcast_ref::<Errno>().copied())
    })?;
    let refusals = [
        Errno::EPERM,
        Errno::EACCES,
        Errno::ENOSYS,
        Errno::EOPNOTSUPP,
        Errno::EAGAIN,
        Errno::ENOMEM,
        Errno::ENOSPC,
        Errno::EMSGSIZE, // A message longer than a setting of this machine allows.
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::EAFNOSUPPORT,
        Errno::ENETUNREACH,
        Errno::EADDRNOTAVAIL, // With ENETUNREACH: a sandbox without any network, not even loopback.
    ];
    refusals.contains(&code).then(|| format!("{error:#}"))
}

/// What was seen, or the reason why this machine refuses it.
pub type Tried<T> = Result<T, String>;

/// What came of an attempt; any error but a refusal is a mistake of ours, and stays one.
pub fn tried<T>(attempt: anyhow::Result<T>) -> anyhow::Result<Tried<T>> {
    attempt.map(Ok).or_else(|error| refused(&error).map(Err).ok_or(error))
}
