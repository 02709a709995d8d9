"""Chapter 3, call by call: each system call that takes a tenant further than its own process is refused with EPERM.

Called with zeros: one that seccomp lets pass would answer something else (EFAULT, EINVAL, ENOSYS, EBADF). All in one
process, because each is over in a microsecond.
"""

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import in_shared_process
from tenantry.sandbox.syscalls import this_machine

__all__ = ["SYSTEM_CALLS"]

_ROWS: Final = {
    "K1": "fork vfork execve execveat",
    "K7": "ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp process_madvise",
    "K8": (
        "mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr statmount "
        "listmount"
    ),
    "K9": "unshare setns setuid setgid setresuid setresgid setgroups setfsuid capset setsid setpgid",
    "K11": (
        "userfaultfd bpf perf_event_open add_key request_key keyctl memfd_create memfd_secret fanotify_init "
        "fanotify_mark kexec_load kexec_file_load init_module finit_module delete_module quotactl quotactl_fd acct "
        "swapon swapoff reboot syslog lookup_dcookie io_uring_setup io_uring_enter io_uring_register io_setup "
        "io_submit io_destroy vm86 modify_ldt iopl ioperm personality nfsservctl vhangup uselib ustat sysfs "
        "name_to_handle_at open_by_handle_at sethostname setdomainname"
    ),
    "K13": "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self arch_prctl",
    "K16": (
        "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink "
        "mq_timedsend mq_timedreceive mq_notify mq_getsetattr"
    ),
    "K21": "clock_settime clock_adjtime adjtimex settimeofday",
    "K22": (
        "socket socketpair connect bind listen accept accept4 setsockopt sendmmsg recvmmsg splice tee vmsplice "
        "inotify_init1 inotify_add_watch timer_create timerfd_create signalfd4 setpriority sched_setaffinity "
        "sched_setscheduler sched_setattr ioprio_set setrlimit mlock mlock2 mlockall mbind set_mempolicy migrate_pages "
        "move_pages remap_file_pages pkey_alloc sync syncfs get_robust_list rt_sigqueueinfo rt_tgsigqueueinfo tkill "
        "statfs fstatfs mincore chown lchown fchown fchownat mknod mknodat setxattr futex_waitv futex_wait "
        "futex_requeue"
    ),
}

_NUMBERS: Final = this_machine().numbers

SYSTEM_CALLS: Final[tuple[Attack, ...]] = tuple(
    attack(row, f"the system call {name}", f"syscall({name!r}, 0, 0, 0, 0, 0, 0)", "EPERM", drive=in_shared_process)
    for row, names in _ROWS.items()
    for name in names.split()
    if name in _NUMBERS  # a machine has no call of that name
)
