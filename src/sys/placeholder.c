typedef int sys_is_being_written;
