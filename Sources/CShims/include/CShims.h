#pragma once
#include "CShimsSpawn.h"
#include "memory.h"
#include "processes.h"
