// SPDX-License-Identifier: MIT
/* Who may do what with an inode: mode bits, groups, capabilities, the sticky bit. */
#include "internal.h"

long inode_permission_cred(struct inode *inode, u32 mask, const struct cred *cred)
{
	u32 bits = inode->mode;

	if (cred->fsuid == inode->uid)
		bits >>= 6;
	else if (((bits >> 3) ^ bits) & mask && cred_in_group(cred, inode->gid))
		bits >>= 3;
	if (likely((bits & mask) == mask))
		return 0;
	if (S_ISDIR(inode->mode)) {
		if (!(mask & MAY_WRITE) && cred_capable(cred, CAP_DAC_READ_SEARCH))
			return 0;
		return cred_capable(cred, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
	}
	if (mask == MAY_READ && cred_capable(cred, CAP_DAC_READ_SEARCH))
		return 0;
	if ((!(mask & MAY_EXEC) || (inode->mode & 0111)) && cred_capable(cred, CAP_DAC_OVERRIDE))
		return 0;
	return -EACCES;
}

long inode_permission(struct inode *inode, u32 mask)
{
	if ((mask & MAY_WRITE) && (inode->sb->flags & MS_RDONLY) &&
		(S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISLNK(inode->mode)))
		return -EROFS;
	return inode_permission_cred(inode, mask, current_thread()->cred);
}

bool inode_owned(const struct inode *inode)
{
	const struct cred *cred = current_thread()->cred;

	return cred->fsuid == inode->uid || cred_capable(cred, CAP_FOWNER);
}

long may_create(struct inode *dir)
{
	if (!dir->nlink)
		return -ENOENT;
	return inode_permission(dir, MAY_WRITE | MAY_EXEC);
}

long may_delete(struct inode *dir, struct inode *inode, bool directory)
{
	const struct cred *cred = current_thread()->cred;
	long error = inode_permission(dir, MAY_WRITE | MAY_EXEC);

	if (error)
		return error;
	if ((dir->mode & S_ISVTX) && cred->fsuid != inode->uid && cred->fsuid != dir->uid &&
		!cred_capable(cred, CAP_FOWNER))
		return -EPERM;
	if (directory)
		return S_ISDIR(inode->mode) ? 0 : -ENOTDIR;
	return S_ISDIR(inode->mode) ? -EISDIR : 0;
}
