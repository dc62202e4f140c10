#pragma once
#include "CShimsSpawn.h"
#include "processes.h"
