#pragma once
#include "CShimsSpawn.h"
#include "memory.h"
#include "privileges.h"
#include "processes.h"
