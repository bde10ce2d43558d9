/* A directory seen through a file server that answers as slowly as EFS, for benchmarks.
 *
 * Every operation that would be a round trip to the server sleeps: reading ones --read-us, changing ones
 * --write-us (AWS names about 1 ms and 2.7 ms for a Regional file system). Names and attributes are cached by
 * the kernel as an NFS client caches them. Data is written back on close, as NFS does it: write() is free, the
 * close of a file that was open for writing is the second round trip after its creation.
 *
 * Reading "/.operations" of the mount gives the operations so far, one "name count" a line, then "reads N" and
 * "writes N"; they begin again after each such reading.
 *
 * cc -O2 efs_like.c -o efs_like $(pkg-config --cflags --libs fuse3)
 * efs_like BACKING READ_US WRITE_US MOUNTPOINT -f -o max_threads=128
 */
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum kind { FREE, READING, WRITING };

#define OPERATIONS(_)                                                                                       \
  _(getattr, READING) _(readlink, READING) _(readdir, READING) _(open, READING) _(read, READING)            \
  _(close_read, READING) _(access, READING) _(create, WRITING) _(close_written, WRITING)                    \
  _(rename, WRITING) _(unlink, WRITING) _(mkdir, WRITING) _(rmdir, WRITING) _(symlink, WRITING)             \
  _(link, WRITING) _(utimens, WRITING) _(chmod, WRITING) _(chown, WRITING) _(truncate, WRITING)             \
  _(fsync, WRITING) _(write, FREE)

enum operation {
#define _(name, kind) OP_##name,
  OPERATIONS(_)
#undef _
  OP_COUNT
};

static const struct { const char *name; enum kind kind; } table[] = {
#define _(name, kind) {#name, kind},
  OPERATIONS(_)
#undef _
};

static atomic_long counts[OP_COUNT];
static long delay_us[] = {0, 0, 0};
static int backing = -1;
static const char told_path[] = "/.operations";

static void trip(enum operation operation) {
  atomic_fetch_add(&counts[operation], 1);
  long us = delay_us[table[operation].kind];
  struct timespec pause = {us / 1000000, us % 1000000 * 1000};
  if (us) nanosleep(&pause, NULL);
}

/* libfuse asks for the attributes of what it has just made; a server's reply to making it has them already. */
static _Thread_local char answered[4096];

static int made(const char *path, int value) {
  snprintf(answered, sizeof answered, "%s", value ? "" : path);
  return value;
}

/* What fi->fh points to: FUSE tells on close neither how a file was opened nor whether it was written. */
struct handle {
  int descriptor;
  atomic_bool dirty;
};

static struct handle told;

static int descriptor_of(const struct fuse_file_info *file) { return ((struct handle *)file->fh)->descriptor; }

static int keep(struct fuse_file_info *file, int descriptor, bool dirty) {
  if (descriptor < 0) return -errno;
  struct handle *handle = malloc(sizeof *handle);
  if (!handle) abort();
  *handle = (struct handle){.descriptor = descriptor, .dirty = dirty};
  file->fh = (uint64_t)handle;
  return 0;
}

/* Paths come absolute from FUSE; the backing directory is open, so all calls are relative to it. */
static const char *below(const char *path) { return path[1] ? path + 1 : "."; }

static int result(int value) { return value < 0 ? -errno : 0; }

static int like_getattr(const char *path, struct stat *status, struct fuse_file_info *file) {
  (void)file;
  if (!strcmp(path, told_path)) {
    memset(status, 0, sizeof *status);
    status->st_mode = S_IFREG | 0444;
    status->st_nlink = 1;
    return 0;
  }
  if (strcmp(path, answered)) trip(OP_getattr);
  answered[0] = 0;
  return result(fstatat(backing, below(path), status, AT_SYMLINK_NOFOLLOW));
}

static int like_readlink(const char *path, char *text, size_t size) {
  trip(OP_readlink);
  ssize_t length = readlinkat(backing, below(path), text, size - 1);
  if (length < 0) return -errno;
  text[length] = 0;
  return 0;
}

static int like_readdir(const char *path, void *into, fuse_fill_dir_t fill, off_t offset,
                        struct fuse_file_info *file, enum fuse_readdir_flags flags) {
  (void)offset, (void)file, (void)flags;
  trip(OP_readdir);
  int descriptor = openat(backing, below(path), O_RDONLY | O_DIRECTORY);
  DIR *directory = descriptor < 0 ? NULL : fdopendir(descriptor);
  if (!directory) return -errno;
  for (struct dirent *entry; (entry = readdir(directory));) {
    struct stat status = {.st_ino = entry->d_ino, .st_mode = (mode_t)entry->d_type << 12};
    if (fill(into, entry->d_name, &status, 0, 0)) break;
  }
  closedir(directory);
  return 0;
}

static int like_open(const char *path, struct fuse_file_info *file) {
  if (!strcmp(path, told_path)) {
    file->direct_io = 1;
    file->fh = (uint64_t)&told;
    return 0;
  }
  trip(OP_open);
  return keep(file, openat(backing, below(path), file->flags), false);
}

static int like_create(const char *path, mode_t mode, struct fuse_file_info *file) {
  trip(OP_create);
  return made(path, keep(file, openat(backing, below(path), file->flags | O_CREAT, mode), true));
}

static int tell(char *into, size_t size) {
  long sums[3] = {0};
  int used = 0;
  for (int i = 0; i < OP_COUNT; i++) {
    long count = atomic_exchange(&counts[i], 0);
    sums[table[i].kind] += count;
    if (count) used += snprintf(into + used, size - (size_t)used, "%s %ld\n", table[i].name, count);
  }
  return used + snprintf(into + used, size - (size_t)used, "reads %ld\nwrites %ld\n", sums[READING], sums[WRITING]);
}

static int like_read(const char *path, char *into, size_t size, off_t offset, struct fuse_file_info *file) {
  (void)path;
  if (file->fh == (uint64_t)&told) return offset || size < 4096 ? 0 : tell(into, size);
  trip(OP_read);
  ssize_t length = pread(descriptor_of(file), into, size, offset);
  return length < 0 ? -errno : (int)length;
}

static int like_write(const char *path, const char *from, size_t size, off_t offset, struct fuse_file_info *file) {
  (void)path;
  trip(OP_write);
  ((struct handle *)file->fh)->dirty = true;
  ssize_t length = pwrite(descriptor_of(file), from, size, offset);
  return length < 0 ? -errno : (int)length;
}

static int like_flush(const char *path, struct fuse_file_info *file) {
  (void)path;
  if (file->fh == (uint64_t)&told) return 0;
  trip(atomic_exchange(&((struct handle *)file->fh)->dirty, false) ? OP_close_written : OP_close_read);
  return 0;
}

static int like_release(const char *path, struct fuse_file_info *file) {
  (void)path;
  if (file->fh == (uint64_t)&told) return 0;
  int value = result(close(descriptor_of(file)));
  free((struct handle *)file->fh);
  return value;
}

static int like_fsync(const char *path, int data_only, struct fuse_file_info *file) {
  (void)path, (void)data_only, (void)file;
  trip(OP_fsync);
  return 0;
}

static int like_access(const char *path, int mode) {
  trip(OP_access);
  return result(faccessat(backing, below(path), mode, 0));
}

static int like_rename(const char *from, const char *to, unsigned flags) {
  trip(OP_rename);
  return result(renameat2(backing, below(from), backing, below(to), flags));
}

static int like_unlink(const char *path) { trip(OP_unlink); return result(unlinkat(backing, below(path), 0)); }
static int like_rmdir(const char *path) { trip(OP_rmdir); return result(unlinkat(backing, below(path), AT_REMOVEDIR)); }
static int like_mkdir(const char *path, mode_t mode) { trip(OP_mkdir); return made(path, result(mkdirat(backing, below(path), mode))); }
static int like_symlink(const char *text, const char *path) { trip(OP_symlink); return made(path, result(symlinkat(text, backing, below(path)))); }
static int like_link(const char *from, const char *to) { trip(OP_link); return made(to, result(linkat(backing, below(from), backing, below(to), 0))); }

static int like_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *file) {
  (void)file;
  trip(OP_utimens);
  return result(utimensat(backing, below(path), times, AT_SYMLINK_NOFOLLOW));
}

static int like_chmod(const char *path, mode_t mode, struct fuse_file_info *file) {
  (void)file;
  trip(OP_chmod);
  return result(fchmodat(backing, below(path), mode, 0));
}

static int like_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *file) {
  (void)file;
  trip(OP_chown);
  return result(fchownat(backing, below(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int like_truncate(const char *path, off_t size, struct fuse_file_info *file) {
  trip(OP_truncate);
  if (file) return result(ftruncate(descriptor_of(file), size));
  int descriptor = openat(backing, below(path), O_WRONLY);
  if (descriptor < 0) return -errno;
  int value = result(ftruncate(descriptor, size));
  close(descriptor);
  return value;
}

static void *like_init(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)connection;
  config->attr_timeout = 3;   /* acregmin of the Linux NFS client */
  config->entry_timeout = 30; /* acdirmin */
  config->negative_timeout = 0;
  config->use_ino = 1;
  config->nullpath_ok = 0;
  return NULL;
}

static const struct fuse_operations operations = {
  .init = like_init, .getattr = like_getattr, .readlink = like_readlink, .readdir = like_readdir,
  .open = like_open, .create = like_create, .read = like_read, .write = like_write, .flush = like_flush,
  .release = like_release, .fsync = like_fsync, .rename = like_rename, .unlink = like_unlink,
  .rmdir = like_rmdir, .mkdir = like_mkdir, .symlink = like_symlink, .link = like_link,
  .utimens = like_utimens, .chmod = like_chmod, .chown = like_chown, .truncate = like_truncate,
  .access = like_access,
};

int main(int count, char **words) {
  if (count < 5) {
    fprintf(stderr, "usage: %s BACKING READ_US WRITE_US MOUNTPOINT [FUSE options]\n", words[0]);
    return 2;
  }
  backing = open(words[1], O_RDONLY | O_DIRECTORY);
  if (backing < 0) {
    perror(words[1]);
    return 1;
  }
  delay_us[READING] = atol(words[2]);
  delay_us[WRITING] = atol(words[3]);
  words[3] = words[0];
  umask(0); /* the caller's umask was applied by the kernel already */
  return fuse_main(count - 3, words + 3, &operations, NULL);
}
