Console.WriteLine("permafrost");
