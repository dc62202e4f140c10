#pragma once
#include "CShimsSpawn.h"
#include "privileges.h"
#include "processes.h"
