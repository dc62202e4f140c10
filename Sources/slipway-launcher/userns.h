#pragma once
#include <sys/types.h>
// A user namespace as a descriptor. `owner`, in the namespace above, has every right in it. The map serves for users and groups.
int user_namespace(uid_t owner, const char *map);
// Puts this process into a new user namespace in which it keeps its own uid (case B).
void enter_own_user_namespace(void);
